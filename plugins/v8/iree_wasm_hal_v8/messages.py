"""Translates what JavaScript threw during a wasm call."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from iree_wasm_hal.engine import TrapKind
from iree_wasm_hal.errors import TrapError

if TYPE_CHECKING:
    from iree_wasm_hal_v8.isolate import RequestError

# Texts of V8's traps (src/common/message-template.h), in the spec's words.
_TRAP_KINDS = {
    "unreachable": TrapKind.UNREACHABLE,
    "memory access out of bounds": TrapKind.OUT_OF_BOUNDS_MEMORY,
    "divide by zero": TrapKind.INTEGER_DIVIDE_BY_ZERO,
    "remainder by zero": TrapKind.INTEGER_DIVIDE_BY_ZERO,
    "divide result unrepresentable": TrapKind.INTEGER_OVERFLOW,
    # V8 does not tell a NaN from a number that is too large.
    "float unrepresentable in integer range": TrapKind.INVALID_CONVERSION,
    "table index is out of bounds": TrapKind.UNDEFINED_ELEMENT,
    # Of table.init; TrapKind has no word for tables outside of calls.
    "element segment out of bounds": "out of bounds table access",
    # V8 does not tell an empty table slot from a function of another type.
    "function signature mismatch": TrapKind.INDIRECT_CALL_TYPE_MISMATCH,
    "null function or function signature mismatch": TrapKind.INDIRECT_CALL_TYPE_MISMATCH,
    "operation does not support unaligned accesses": TrapKind.UNALIGNED_ATOMIC,
    "Maximum call stack size exceeded": TrapKind.STACK_EXHAUSTED,
    "Atomics.wait cannot be called in this context": TrapKind.EXPECTED_SHARED_MEMORY,
}
_WASM_EXCEPTION = "Exception"
_FRAME = re.compile(r"^\s*at (?:(.*) \()?wasm://.*:wasm-function\[(\d+)\]:0x[0-9a-f]+\)?$")


def trap_error(thrown: RequestError, function_name: str) -> TrapError:
    """The error for what a call of ``function_name`` threw."""
    if thrown.name == _WASM_EXCEPTION:
        kind: str = TrapKind.UNCAUGHT_EXCEPTION
    else:
        kind = _TRAP_KINDS.get(thrown.message, TrapKind.UNKNOWN)
    reason = f"{thrown.name}: {thrown.message}" if kind is TrapKind.UNKNOWN else kind
    frames = _frames(thrown.stack)
    where = f" in {frames[0]!r}" if frames else ""
    return TrapError(f"{function_name!r} trapped{where}: {reason}", kind=kind, frames=frames)


def _frames(stack: str) -> tuple[str, ...]:
    """Names of the wasm functions; those without one by their index."""
    matches = (_FRAME.match(line) for line in stack.splitlines())
    return tuple(match[1] or f"function {match[2]}" for match in matches if match)
