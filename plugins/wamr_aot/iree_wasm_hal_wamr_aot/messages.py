"""Errors for traps, and the names of the functions on their stacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iree_wasm_hal.engine import TrapKind
from iree_wasm_hal.errors import TrapError
from iree_wasm_hal_wamr_aot.c_api import ffi

if TYPE_CHECKING:
    from collections.abc import Sequence

_KINDS = frozenset(
    value for name, value in vars(TrapKind).items() if name.isupper() and isinstance(value, str)
) | {"out of bounds table access"}
_FRAME_CAPACITY = 32


def trap_error(function_name: str, words: str, frames: tuple[str, ...]) -> TrapError:
    """The error for a trap, which the library calls as the specification does, or as WAMR does."""
    kind = words if words in _KINDS else TrapKind.UNKNOWN
    where = f" in {frames[0]!r}" if frames else ""
    return TrapError(f"{function_name!r} trapped{where}: {words}", kind=kind, frames=frames)


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
