"""Translates what JavaScript threw into this project's errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.engine import TrapKind
from iree_wasm_hal.errors import TrapError

if TYPE_CHECKING:
    from iree_wasm_hal_jsc.virtual_machine import OperationError

# JavaScriptCore's messages (wasm/WasmExceptionType.h), in the spec's words.
_TRAP_KINDS = {
    "Out of bounds memory access": TrapKind.OUT_OF_BOUNDS_MEMORY,
    "Out of bounds table access": "out of bounds table access",
    "Out of bounds call_indirect": TrapKind.UNDEFINED_ELEMENT,
    "call_indirect to a null table entry": TrapKind.UNINITIALIZED_ELEMENT,
    "call_indirect to a signature that does not match": TrapKind.INDIRECT_CALL_TYPE_MISMATCH,
    "Unreachable code should not be executed": TrapKind.UNREACHABLE,
    "Division by zero": TrapKind.INTEGER_DIVIDE_BY_ZERO,
    "Integer overflow": TrapKind.INTEGER_OVERFLOW,
    # One message for what the spec calls this and, for numbers out of range, integer overflow.
    "Out of bounds Trunc operation": TrapKind.INVALID_CONVERSION,
    "Unaligned memory access": TrapKind.UNALIGNED_ATOMIC,
}
_STACK_EXHAUSTED = "Maximum call stack size exceeded"
_FRAME_MARK = "@<?>:wasm-function["


def trap_error(error: OperationError, function_name: str) -> TrapError:
    """The trap that ended a call.

    Args:
        error: What JavaScript caught.
        function_name: Export that was called, for the message.
    """
    kind = _kind(error)
    frames = _frames(error.stack)
    where = f" in {frames[0]!r}" if frames else ""
    reason = f"{error.name}: {error.message}" if kind == TrapKind.UNKNOWN else kind
    return TrapError(f"{function_name!r} trapped{where}: {reason}", kind=kind, frames=frames)


def _kind(error: OperationError) -> str:
    if error.name == "Exception":
        return TrapKind.UNCAUGHT_EXCEPTION
    if error.name == "RangeError" and error.message.startswith(_STACK_EXHAUSTED):
        return TrapKind.STACK_EXHAUSTED
    return _TRAP_KINDS.get(error.message, TrapKind.UNKNOWN)


def _frames(stack: str) -> tuple[str, ...]:
    """The wasm frames: ``name@<?>:wasm-function[3]``, where an unnamed one is ``(null)``."""
    frames = []
    for line in stack.split("\n"):
        name, mark, index = line.partition(_FRAME_MARK)
        if mark:
            frames.append(f"function {index.rstrip(']')}" if name == "(null)" else name)
    return tuple(frames)
