"""Translates the library's failures; each function takes over its native object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from iree_wasm_hal.engine import TrapKind
from iree_wasm_hal.errors import (
    CallError,
    EngineError,
    Error,
    InternalError,
    InterruptedCallError,
    TrapError,
)
from iree_wasm_hal_wasmer.c_api import FAILURE_INTERRUPTED, FAILURE_PANIC, FAILURE_TRAP, ffi, text

# Wasmer's TrapCode (the crate wasmer-types, src/trapcode.rs), in the spec's words.
_TRAP_KINDS = {
    0: TrapKind.STACK_EXHAUSTED,
    1: TrapKind.OUT_OF_BOUNDS_MEMORY,
    2: TrapKind.UNALIGNED_ATOMIC,
    3: TrapKind.UNDEFINED_ELEMENT,
    4: TrapKind.UNINITIALIZED_ELEMENT,
    5: TrapKind.INDIRECT_CALL_TYPE_MISMATCH,
    6: TrapKind.INTEGER_OVERFLOW,
    7: TrapKind.INTEGER_DIVIDE_BY_ZERO,
    8: TrapKind.INVALID_CONVERSION,
    9: TrapKind.UNREACHABLE,
    10: TrapKind.UNALIGNED_ATOMIC,
    11: TrapKind.UNCAUGHT_EXCEPTION,
    # "Interrupted by host" is what Wasmer says when a memory refuses to wait; interruption itself
    # is no trap here.
    14: TrapKind.EXPECTED_SHARED_MEMORY,
}


@dataclass(frozen=True, slots=True)
class Failure:
    """A copy of a native failure.

    Attributes:
        kind: One of the numbers ``FAILURE_*``.
        trap_code: Wasmer's trap code, or -1.
        message: Wasmer's words.
        frames: Names of the wasm functions on the stack, innermost first.
    """

    kind: int
    trap_code: int
    message: str
    frames: tuple[str, ...]


def take_failure(lib: Any, pointer: Any) -> Failure:
    """Copies an ``iwh_wasmer_failure_t*`` and deletes it."""
    size = ffi.new("size_t *")
    message = text(lib.iwh_wasmer_failure_message(pointer, size), size[0])
    frames = tuple(
        text(lib.iwh_wasmer_failure_frame(pointer, index, size), size[0])
        for index in range(lib.iwh_wasmer_failure_frame_count(pointer))
    )
    kind = lib.iwh_wasmer_failure_kind(pointer)
    trap_code = lib.iwh_wasmer_failure_trap_code(pointer)
    lib.iwh_wasmer_failure_delete(pointer)
    return Failure(kind, trap_code, message, frames)


def general_error(what: str, failure: Failure) -> Error:
    """The error for anything but a call.

    Args:
        what: What could not be done, as in "cannot compile".
        failure: Why.
    """
    if failure.kind == FAILURE_TRAP:
        return trap_error(what, failure)
    if failure.kind == FAILURE_PANIC:
        return InternalError(f"BUG: {what}: a panic in Wasmer: {failure.message}")
    return EngineError(f"{what}: {failure.message}")


def call_error(function_name: str, failure: Failure) -> Error:
    """The error for a call that ended otherwise than by returning."""
    if failure.kind == FAILURE_INTERRUPTED:
        return InterruptedCallError(f"call of {function_name!r} was interrupted")
    if failure.kind == FAILURE_TRAP:
        return trap_error(f"{function_name!r} trapped", failure)
    return general_error(f"call of {function_name!r} failed", failure)


def trap_error(what: str, failure: Failure) -> CallError:
    """The error for a trap."""
    kind = _TRAP_KINDS.get(failure.trap_code, TrapKind.UNKNOWN)
    reason = failure.message if kind == TrapKind.UNKNOWN else kind
    where = f" in {failure.frames[0]!r}" if failure.frames else ""
    return TrapError(f"{what}{where}: {reason}", kind=kind, frames=failure.frames)
