"""Options of the engine."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, cast

from iree_wasm_hal.engine import check_byte_length
from iree_wasm_hal.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iree_wasm_hal.engine import CompileObserver

VECTOR_BITS_VARIABLE = "IREE_WASM_HAL_WAMR_AOT_VECTOR_BITS"
"""Environment variable for ``vector_bits`` where the option is not given."""
AUTO = "auto"
GUARD, EXPLICIT = "guard", "explicit"

_VECTOR_BITS = (128, 256, 512)
_MAX_THREAD_COUNT = 1024
_STACK_LIMITS = (64 * 1024, 64 * 1024**2)


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Options of ``open_engine("wamr-aot", ...)``."""

    vector_bits: int | None = None
    """Widest vectors that 128-bit operations may be merged into; None for the CPU's widest."""
    bounds_checks: str = GUARD
    """``"guard"``: guard pages, 8 GiB of address space per memory; ``"explicit"``: comparisons."""
    compile_threads: int | None = None
    """Threads that compile one program; None for all cores that the process may use."""
    max_wasm_stack_byte_length: int = 1024**2
    """Stack of its thread that a call may use; less where the thread has less."""
    progress: CompileObserver | None = None
    """Called with the bytes of code that are compiled and all of them, as a compilation goes on."""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The option names."""
        return tuple(field.name for field in fields(cls))

    @classmethod
    def from_mapping(cls, options: Mapping[str, object]) -> EngineOptions:
        """Checks the values.

        Raises:
            EngineError: A value, or the environment variable's, is none that is known.
        """
        bounds_checks = options.get("bounds_checks", GUARD)
        if bounds_checks not in {GUARD, EXPLICIT}:
            raise _wrong("bounds_checks", bounds_checks, f"{GUARD!r} or {EXPLICIT!r}")
        threads = options.get("compile_threads")
        if threads is not None and not _is_count(threads):
            raise _wrong("compile_threads", threads, f"an int from 1 to {_MAX_THREAD_COUNT}")
        progress = options.get("progress")
        if progress is not None and not callable(progress):
            raise _wrong("progress", progress, "a function of two ints")
        name = "max_wasm_stack_byte_length"
        stack = options.get(name, cls().max_wasm_stack_byte_length)
        return cls(
            _vector_bits(options),
            str(bounds_checks),
            cast("int | None", threads),
            check_byte_length("wamr-aot", name, stack, _STACK_LIMITS),
            cast("CompileObserver | None", progress),
        )


def _vector_bits(options: Mapping[str, object]) -> int | None:
    if "vector_bits" in options:
        value = options["vector_bits"]
        if value == AUTO:
            return None
        if isinstance(value, int) and value in _VECTOR_BITS:
            return value
        raise _wrong("vector_bits", value, f"{AUTO!r}, 128, 256 or 512")
    text = os.environ.get(VECTOR_BITS_VARIABLE, AUTO)
    if text not in {AUTO, *map(str, _VECTOR_BITS)}:
        msg = (
            f"engine 'wamr-aot': environment variable {VECTOR_BITS_VARIABLE} is {text!r}; "
            f"expected {AUTO}, 128, 256 or 512"
        )
        raise EngineError(msg)
    return None if text == AUTO else int(text)


def _is_count(value: object) -> bool:
    is_int = isinstance(value, int) and not isinstance(value, bool)
    return is_int and 1 <= cast("int", value) <= _MAX_THREAD_COUNT


def _wrong(option: str, value: object, expected: str) -> EngineError:
    msg = f"engine 'wamr-aot': option {option!r} is {value!r}; expected {expected}"
    return EngineError(msg)
