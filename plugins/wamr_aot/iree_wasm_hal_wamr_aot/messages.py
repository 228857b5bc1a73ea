"""Translates WAMR's traps into the spec's words, and frames into names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iree_wasm_hal.engine import TrapKind
from iree_wasm_hal.errors import TrapError
from iree_wasm_hal_wamr_aot.c_api import ffi

if TYPE_CHECKING:
    from collections.abc import Sequence

_PREFIX = "Exception: "

# WAMR's words (exception_msgs in wasm_runtime_common.c) are the spec's, but for these.
_STACK_EXHAUSTED = ("wasm operand stack overflow", "native stack overflow")
_SAME_WORDS = frozenset(
    {
        TrapKind.UNREACHABLE,
        TrapKind.OUT_OF_BOUNDS_MEMORY,
        TrapKind.INTEGER_DIVIDE_BY_ZERO,
        TrapKind.INTEGER_OVERFLOW,
        TrapKind.INVALID_CONVERSION,
        TrapKind.UNDEFINED_ELEMENT,
        TrapKind.UNINITIALIZED_ELEMENT,
        TrapKind.INDIRECT_CALL_TYPE_MISMATCH,
        TrapKind.UNALIGNED_ATOMIC,
        TrapKind.EXPECTED_SHARED_MEMORY,
        "out of bounds table access",
    }
)
_FRAME_CAPACITY = 32


def trap_error(function_name: str, message: str, frames: tuple[str, ...]) -> TrapError:
    """The error for WAMR's exception ``message``."""
    words = message.removeprefix(_PREFIX)
    kind: str = TrapKind.UNKNOWN
    if words in _SAME_WORDS:
        kind = words
    elif words in _STACK_EXHAUSTED:
        kind = TrapKind.STACK_EXHAUSTED
    reason = words if kind is TrapKind.UNKNOWN else kind
    where = f" in {frames[0]!r}" if frames else ""
    return TrapError(f"{function_name!r} trapped{where}: {reason}", kind=kind, frames=frames)


def trap_frames(lib: Any, instance: Any, names: Sequence[str]) -> tuple[str, ...]:
    """Names of the functions on the stack of an instance's last trap, innermost first.

    Args:
        lib: The runtime library.
        instance: The ``iwh_wamr_aot_instance*``.
        names: The program's functions by index; ``""`` for one without a name.
    """
    indices = ffi.new("uint32_t[]", _FRAME_CAPACITY)
    count = lib.iwh_wamr_aot_trap_frames(instance, indices, _FRAME_CAPACITY)
    return tuple(_name(indices[at], names) for at in range(count))


def _name(index: int, names: Sequence[str]) -> str:
    return (names[index] if index < len(names) else "") or f"function {index}"
