"""Python values to VM values: one converter per declared argument, made once.

Nothing is cast silently: an array must have the declared dtype (of either byte order) and shape.
Python numbers and lists, which have no dtype of their own, are taken where the declared type
holds them exactly.
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from iree_wasm_hal.errors import ArgumentError
from iree_wasm_hal.hal.buffer_view import BufferView
from iree_wasm_hal.hal.elements import (
    dtype_of,
    element_name,
    element_type_from_name,
    element_type_of,
)
from iree_wasm_hal.runtime.declaration import OtherType, PrimitiveType, TensorType, format_shape
from iree_wasm_hal.vm.buffer import Buffer as VmBuffer

if TYPE_CHECKING:
    from iree_wasm_hal.hal.allocator import Allocator
    from iree_wasm_hal.runtime.declaration import Type

__all__ = ["BYTES_TYPES", "Converter", "argument_converter"]

Converter = Callable[[object], object]
"""Takes what the caller passed; raises ArgumentError without saying which argument it was."""

_Array = npt.NDArray[Any]
BYTES_TYPES = ("!util.buffer", "!vm.buffer")
"""Declared types that Python sees as bytes."""

_F32 = struct.Struct("<f")
_SIGNLESS_UNSIGNED = {"i8": "uint8", "i16": "uint16", "i32": "uint32", "i64": "uint64"}


def argument_converter(declared: Type | None, value_type: str, allocator: Allocator) -> Converter:
    """The converter for one argument.

    Args:
        declared: From the declaration; None where there is none.
        value_type: The calling convention's character.
        allocator: Of the device that tensors are copied to.
    """
    if value_type in "iI":
        element_type = declared.element_type if isinstance(declared, PrimitiveType) else ""
        return _integer_converter(element_type, 64 if value_type == "I" else 32)
    if value_type in "fF":
        return _float_converter(is_f32=value_type == "f")
    if isinstance(declared, TensorType):
        try:
            return _tensor_converter(declared, allocator)
        except ArgumentError:
            # numpy has no such element type (i4, an encoding): only a buffer view can be passed.
            return _pass_buffer_view
    return _ref_converter(declared, allocator)


def _tensor_converter(declared: TensorType, allocator: Allocator) -> Converter:
    element_type = element_type_from_name(declared.element_type)
    dtype = dtype_of(element_type)
    dims = declared.shape
    static_shape = None if None in dims else dims
    upload = allocator.upload
    check = _TensorCheck(declared, dtype)

    def convert(value: object) -> object:
        if type(value) is np.ndarray and value.dtype is dtype and value.shape == static_shape:
            array: _Array = value
        elif isinstance(value, BufferView):
            return value
        else:
            array = check(value)
        return BufferView(upload(array), array.shape, element_type)

    return convert


class _TensorCheck:
    """Turns anything acceptable into an array of the declared dtype and shape."""

    def __init__(self, declared: TensorType, dtype: np.dtype[Any]) -> None:
        self._declared = declared
        self._dtype = dtype
        unsigned = _SIGNLESS_UNSIGNED.get(declared.element_type)
        # A signless integer is either; the bits are what counts.
        self._dtypes = {dtype} | ({np.dtype(unsigned)} if unsigned else set())

    def __call__(self, value: object) -> _Array:
        if isinstance(value, np.ndarray | np.generic) or hasattr(value, "__array__"):
            array: _Array = np.asarray(value)
            native = array.dtype if array.dtype.isnative else array.dtype.newbyteorder("=")
            if native not in self._dtypes:
                raise self._mismatch(array)
        else:
            array = self._from_python(value)
        dims = self._declared.shape
        if len(dims) != array.ndim or any(
            dim is not None and dim != size for dim, size in zip(dims, array.shape, strict=True)
        ):
            raise self._mismatch(array)
        return array

    def _mismatch(self, array: _Array) -> ArgumentError:
        try:
            name = format_shape(array.shape, _element_name(array.dtype))
        except ArgumentError:
            name = f"shape {array.shape}"
        return ArgumentError(
            f"expected {self._declared} (dtype {self._dtype}), got {name} (dtype {array.dtype})"
        )

    def _from_python(self, value: object) -> _Array:
        if not isinstance(value, bool | int | float | complex | list | tuple):
            raise ArgumentError(
                f"expected {self._declared} (dtype {self._dtype}), got {type(value).__name__}"
            )
        try:
            found: _Array = np.asarray(value)
        except ValueError as error:  # a ragged list
            raise ArgumentError(f"expected {self._declared}, got a list: {error}") from error
        if found.size and not _holds(self._dtype, found.dtype):
            raise ArgumentError(
                f"expected {self._declared} (dtype {self._dtype}), got Python values of type "
                f"{found.dtype}"
            )
        if found.size and found.dtype.kind in "iu" and self._dtype.kind in "iu":
            limits = np.iinfo(self._dtype)
            if int(found.min()) < limits.min or int(found.max()) > limits.max:
                raise ArgumentError(
                    f"expected {self._declared}, got a value outside {limits.min} to {limits.max}"
                )
        return found.astype(self._dtype)


def _holds(dtype: np.dtype[Any], python: np.dtype[Any]) -> bool:
    """Whether Python values that numpy reads as ``python`` mean something in ``dtype``.

    Truth values are no numbers; whole numbers may be fractions, but not the other way round.
    """
    if dtype.kind == "b" or python.kind == "b":
        return dtype.kind == python.kind
    order = "iufc"
    target = "f" if dtype.kind == "V" else "i" if dtype.kind == "u" else dtype.kind
    source = "i" if python.kind == "u" else python.kind
    return source in order and order.index(source) <= order.index(target)


def _ref_converter(declared: Type | None, allocator: Allocator) -> Converter:
    """Without a declared tensor type an array becomes a view of its own dtype."""
    wants_bytes = isinstance(declared, OtherType) and declared.text in (
        "!util.buffer",
        "!vm.buffer",
    )

    def convert(value: object) -> object:
        if isinstance(value, np.ndarray | np.generic):
            array: _Array = np.asarray(value)
            element_type = element_type_of(array.dtype)
            return BufferView(allocator.upload(array), array.shape, element_type)
        if wants_bytes and isinstance(value, bytes | bytearray | memoryview):
            return VmBuffer(value)
        if isinstance(value, bool | int | float | complex | list | tuple | str | bytes):
            raise ArgumentError(
                f"expected {declared or 'a numpy array'}, got {type(value).__name__}; the function "
                "declares no element type, so pass a numpy array"
            )
        return value

    return convert


def _pass_buffer_view(value: object) -> object:
    if isinstance(value, BufferView):
        return value
    raise ArgumentError(
        f"expected a hal BufferView (numpy has no such element type), got {type(value).__name__}"
    )


def _element_name(dtype: np.dtype[Any]) -> str:
    name = element_name(element_type_of(dtype))
    return name.removeprefix("s") if name.startswith("si") else name


def _integer_converter(element_type: str, bit_width: int) -> Converter:
    name = element_type or f"i{bit_width}"
    digits = name.lstrip("uis")
    bits = int(digits) if digits.isdecimal() else bit_width
    unsigned = name.startswith("ui") or bits == 1
    low = 0 if unsigned else -(1 << (bits - 1))
    high = (1 << (bits - 1)) - 1 if name.startswith("si") else (1 << bits) - 1
    sign = 1 << (bit_width - 1)

    def convert(value: object) -> object:
        if isinstance(value, np.bool_):
            value = bool(value)
        if isinstance(value, bool) and bits != 1:
            raise ArgumentError(f"expected {name}, got bool")
        try:
            number = operator.index(value)  # type: ignore[arg-type]  # the test for an integer
        except TypeError as error:
            raise ArgumentError(f"expected {name}, got {_describe(value)}") from error
        if not low <= number <= high:
            raise ArgumentError(f"expected {name} ({low} to {high}), got {number}")
        if bits == bit_width:
            return number - 2 * sign if number >= sign else number
        if not unsigned and number >> (bits - 1):
            # Sign-extended, so that 255 and -1 are the same i8.
            return number | -(1 << bits)
        return number

    return convert


def _float_converter(*, is_f32: bool) -> Converter:
    name = "f32" if is_f32 else "f64"

    def convert(value: object) -> object:
        if isinstance(value, bool | np.bool_) or not isinstance(
            value, int | float | np.integer | np.floating
        ):
            raise ArgumentError(f"expected {name}, got {_describe(value)}")
        try:
            number = float(value)
            rounded: float = _F32.unpack(_F32.pack(number))[0] if is_f32 else number
        except OverflowError as error:
            raise ArgumentError(
                f"expected {name}, got a number which {name} cannot hold"
            ) from error
        return rounded

    return convert


def _describe(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    return f"{type(value).__name__} {value!r}"[:200]
