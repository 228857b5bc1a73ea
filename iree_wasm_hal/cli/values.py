"""Reads values in IREE's spelling: ``4xf32=1 2 3 4``, ``2x2xi32=[[1 2][3 4]]``, ``@file.npy``.

=================  ==========================================================================
``5``, ``1.5``     a scalar, typed by the called function
``f32=1.5``        a tensor of rank 0
``4xf32=1 2 3 4``  a tensor; commas and brackets may separate its elements
``4xf32=0``        one element for all
``4xf32``          zeros; ``&4xf32`` likewise, as storage for an output
``4xf32=@a.bin``   a tensor from the start of a raw file, ``+a.bin`` from where the last one ended
``@a.npy``         the first array of a numpy file, ``+a.npy`` the next, ``*a.npy`` all that follow
``(null)``         a null reference
``(ignored)``      for expected outputs: whatever comes is right
=================  ==========================================================================

Source: IREE's ``runtime/src/iree/tooling/function_io.h`` and ``hal/string_util.c``.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from iree_wasm_hal.cli.element_names import FLOAT_NAMES, dtype_of
from iree_wasm_hal.cli.reporting import UsageError
from iree_wasm_hal.errors import Error
from iree_wasm_hal.hal import elements

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Null", "ScalarText", "Tensor", "Value", "parse_values"]

MAX_RANK = 128
"""Most dimensions a value may have, as in IREE."""

_SEPARATORS = re.compile(r"[\s,\[\]]+")
_INTEGER = re.compile(
    r"(?P<sign>[+-]?)(?:0[xX](?P<hex>[0-9a-fA-F]+)|0(?P<octal>[0-7]+)|(?P<decimal>[0-9]+))"
)


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """An array and the name of its element type; numpy has one type for ``si8`` and ``i8``."""

    element_name: str
    array: npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class ScalarText:
    """A bare number; its type is the parameter's, so that it is read when the function is known."""

    text: str

    def as_int(self) -> int:
        """The value as an integer.

        Raises:
            UsageError: The text is not an integer.
        """
        return _parse_int(self.text)

    def as_float(self) -> float:
        """The value as a fraction.

        Raises:
            UsageError: The text is not a number.
        """
        return _parse_float(self.text)

    def as_number(self) -> int | float:
        """The value as the type its spelling suggests."""
        return self.as_int() if _INTEGER.fullmatch(self.text) else self.as_float()


@dataclass(frozen=True, slots=True)
class Null:
    """``(null)`` or ``(ignored)``."""


Value = Tensor | ScalarText | Null


def parse_values(texts: Iterable[str]) -> list[Value]:
    """Reads the values of one option, in order.

    Args:
        texts: One option argument each; ``*file.npy`` stands for any number of values. Files
            named again go on where the last value ended, unless named with ``@``.

    Raises:
        UsageError: A text that cannot be read; says which and why.
    """
    values: list[Value] = []
    with ExitStack() as stack:
        files = _OpenFiles(stack)
        for text in texts:
            try:
                values.extend(_parse_value(text.strip(), files))
            except UsageError as error:
                raise UsageError(f"cannot read the value '{_shorten(text)}': {error}") from error
    return values


class _OpenFiles:
    """Files by path, so that ``+path`` goes on where the last value from it ended."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._files: dict[str, BinaryIO] = {}

    def open(self, path: str, *, restart: bool) -> BinaryIO:
        file = self._files.get(path)
        if file is None:
            try:
                opened = Path(path).open("rb")  # noqa: SIM115  # the stack closes it
            except OSError as error:
                raise UsageError(f"{path}: {error.strerror}") from error
            file = self._files[path] = self._stack.enter_context(opened)
        elif restart:
            file.seek(0)
        return file


def _parse_value(text: str, files: _OpenFiles) -> Iterator[Value]:
    if not text:
        raise UsageError("it is empty; expected a value such as 4xf32=1,2,3,4, 5 or @file.npy")
    if text in ("(null)", "(ignored)"):
        yield Null()
    elif text[0] in "@+*" and not _INTEGER.fullmatch(text) and not _is_float(text):
        yield from _read_npy(text[0], text[1:], files)
    elif "=" in text or _split_type(text) is not None:
        yield _parse_tensor(text.removeprefix("&"), files)
    else:
        scalar = ScalarText(text)
        scalar.as_number()  # refuses what is no number now, with its own message
        yield scalar


def _read_npy(mode: str, path: str, files: _OpenFiles) -> Iterator[Tensor]:
    if not path.endswith(".npy"):
        raise UsageError("a raw file needs a type in front, such as 4xf32=@file.bin")
    file = files.open(path, restart=mode == "@")
    end = Path(path).stat().st_size
    if mode != "*" and file.tell() >= end:
        raise UsageError(f"{path} holds no further array")
    while file.tell() < end:
        try:
            array = np.lib.format.read_array(file, allow_pickle=False)
        except ValueError as error:
            raise UsageError(f"{path}: {error}") from error
        yield Tensor(_element_name(array.dtype), array)
        if mode != "*":
            return


def _element_name(dtype: np.dtype[Any]) -> str:
    """The element type of a numpy file; IREE calls its signed integers signed (``si32``)."""
    try:
        return elements.element_name(elements.element_type_of(dtype))
    except Error as error:
        raise UsageError(str(error)) from error


def _parse_tensor(text: str, files: _OpenFiles) -> Tensor:
    type_text, _, contents = text.partition("=")
    split = _split_type(type_text)
    if split is None:
        raise UsageError(f"'{type_text}' is no tensor type; expected one such as 4x2xf32 or i64")
    shape, element_name = split
    if len(shape) > MAX_RANK:
        raise UsageError(f"it has {len(shape)} dimensions; at most {MAX_RANK} are allowed")
    dtype = np.dtype(dtype_of(element_name))
    if contents[:1] in ("@", "+") and not _is_float(_SEPARATORS.split(contents)[0]):
        return Tensor(element_name, _read_raw(contents, shape, dtype, files))
    tokens = [token for token in _SEPARATORS.split(contents) if token]
    return Tensor(element_name, _parse_elements(tokens, shape, element_name, dtype))


def _split_type(text: str) -> tuple[tuple[int, ...], str] | None:
    """``"4x2xf32"`` as ((4, 2), "f32"), ``None`` for anything that looks unlike a type."""
    match = re.fullmatch(r"&?((?:[0-9]+x)*)([a-z]+[0-9][0-9A-Za-z]*)", text.strip().strip('"'))
    if match is None:
        return None
    return tuple(int(size) for size in match[1].split("x")[:-1]), match[2]


def _read_raw(
    text: str, shape: tuple[int, ...], dtype: np.dtype[Any], files: _OpenFiles
) -> npt.NDArray[Any]:
    file = files.open(text[1:], restart=text[0] == "@")
    byte_length = int(np.prod(shape, dtype=object)) * dtype.itemsize
    data = file.read(byte_length)
    if len(data) != byte_length:
        raise UsageError(f"{text[1:]} has {len(data)} bytes left where {byte_length} are needed")
    return np.frombuffer(data, dtype).reshape(shape).copy()


def _parse_elements(
    tokens: list[str], shape: tuple[int, ...], element_name: str, dtype: np.dtype[Any]
) -> npt.NDArray[Any]:
    count = int(np.prod(shape, dtype=object))
    if not tokens:
        return np.zeros(shape, dtype)
    if len(tokens) not in (1, count):
        raise UsageError(f"it has {len(tokens)} elements; expected {count}, or 1 for all of them")
    if element_name in FLOAT_NAMES:
        numbers: list[Any] = [_parse_float(token) for token in tokens]
        # IREE reads every fraction as f32 first, f64 excepted.
        wide = np.array(numbers, np.float64 if element_name == "f64" else np.float32)
        with np.errstate(over="ignore"):
            elements = wide.astype(dtype)
    elif dtype.kind in "iu":
        bits = dtype.itemsize * 8
        low = 0 if dtype.kind == "u" else -(1 << (bits - 1))
        high = (1 << bits) - 1 if element_name[0] in "iu" else (1 << (bits - 1)) - 1
        numbers = [_check_range(_parse_int(token), low, high, element_name) for token in tokens]
        unsigned = [number & ((1 << bits) - 1) for number in numbers]
        elements = np.array(unsigned, f"u{dtype.itemsize}").view(dtype)
    else:
        elements = np.frombuffer(b"".join(_parse_hex(token, dtype) for token in tokens), dtype)
    return np.broadcast_to(elements, (count,)).reshape(shape).copy()


def _parse_hex(token: str, dtype: np.dtype[Any]) -> bytes:
    """Elements that have no decimal form (booleans, complex numbers) are written as bytes."""
    if re.fullmatch(f"(?:[0-9a-fA-F]{{2}}){{{dtype.itemsize}}}", token) is None:
        if dtype == np.bool_ and token in ("0", "1", "true", "false"):
            return bytes([token in ("1", "true")])
        raise UsageError(f"'{token}' is not {dtype.itemsize} bytes in hexadecimal digits")
    data = bytes.fromhex(token)
    return bytes([any(data)]) if dtype == np.bool_ else data


def _check_range(number: int, low: int, high: int, element_name: str) -> int:
    if not low <= number <= high:
        raise UsageError(f"{number} does not fit {element_name} ({low} to {high})")
    return number


def _parse_int(text: str) -> int:
    """An integer as C's strtol reads it with base 0: decimal, ``0x`` and leading-zero octal."""
    match = _INTEGER.fullmatch(text)
    if match is None:
        raise UsageError(f"'{text}' is not an integer")
    if match["hex"] is not None:
        magnitude = int(match["hex"], 16)
    elif match["octal"] is not None:
        magnitude = int(match["octal"], 8)
    else:
        magnitude = int(match["decimal"])
    return -magnitude if match["sign"] == "-" else magnitude


def _parse_float(text: str) -> float:
    try:
        if "x" in text.lower():
            return float.fromhex(text)
        if "_" not in text:
            return float(text)
    except (ValueError, OverflowError):
        pass
    raise UsageError(f"'{text}' is not a number")


def _is_float(text: str) -> bool:
    try:
        _parse_float(text)
    except UsageError:
        return False
    return True


def _shorten(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
