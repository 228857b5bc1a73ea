"""Translates wasm3's traps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iree_wasm_hal.engine import TrapKind
from iree_wasm_hal.errors import TrapError
from iree_wasm_hal_wasm3.c_api import BACKTRACE_TRUNCATED, ffi, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iree_wasm_hal_wasm3.runtime import Runtime

# The texts of m3Err_trap* (wasm3.h), in the spec's words.
_TRAP_KINDS = {
    "[trap] out of bounds memory access": TrapKind.OUT_OF_BOUNDS_MEMORY,
    "[trap] integer divide by zero": TrapKind.INTEGER_DIVIDE_BY_ZERO,
    "[trap] integer overflow": TrapKind.INTEGER_OVERFLOW,
    "[trap] invalid conversion to integer": TrapKind.INVALID_CONVERSION,
    "[trap] indirect call type mismatch": TrapKind.INDIRECT_CALL_TYPE_MISMATCH,
    "[trap] undefined element": TrapKind.UNDEFINED_ELEMENT,
    "[trap] null table element": TrapKind.UNINITIALIZED_ELEMENT,
    "[trap] unreachable executed": TrapKind.UNREACHABLE,
    "[trap] stack overflow": TrapKind.STACK_EXHAUSTED,
}
_MAX_FRAME_COUNT = 64


def take_trap(
    runtime: Runtime, result: Any, function_name: str, names: Mapping[int, str]
) -> TrapError:
    """The error for a call that failed; wasm3's record of it is deleted.

    Args:
        runtime: Where the call ran.
        result: The ``M3Result``.
        function_name: Export that was called, for the message.
        names: Names of functions by index.
    """
    words = text(result)
    kind = _TRAP_KINDS.get(words, TrapKind.UNKNOWN)
    details = text(runtime.pointer.error.message)
    frames = _frames(runtime.pointer, names)
    runtime.lib.ClearBacktrace(runtime.pointer)
    runtime.lib.m3_ResetErrorInfo(runtime.pointer)
    where = f" in {frames[0]!r}" if frames else ""
    reason = words if kind is TrapKind.UNKNOWN else kind
    more = f" ({details})" if details else ""
    return TrapError(f"{function_name!r} trapped{where}: {reason}{more}", kind=kind, frames=frames)


def _frames(runtime: Any, names: Mapping[int, str]) -> tuple[str, ...]:
    """The innermost frames; the function of a frame is unknown where entering it trapped."""
    frames: list[str] = []
    frame = runtime.backtrace.frames
    while frame and int(ffi.cast("uintptr_t", frame)) != BACKTRACE_TRUNCATED:
        if frame.function:
            index = frame.function.index
            frames.append(names.get(index, f"function {index}"))
        if len(frames) == _MAX_FRAME_COUNT:
            break
        frame = frame.next
    return tuple(frames)
