"""The hot path: one Python call to one wasm call, through a preallocated array of arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from iree_wasm_hal.errors import ArgumentError, ClosedError, InterruptedCallError
from iree_wasm_hal_wamr_aot.c_api import MESSAGE_CAPACITY, RETURNED, TRAPPED, ffi, message_text
from iree_wasm_hal_wamr_aot.messages import trap_error, trap_frames

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from iree_wasm_hal.engine import WasmFunction

_MASKS = {"i": 2**32 - 1, "I": 2**64 - 1}


class InstanceOwner(Protocol):
    """An instance, as its functions see it."""

    native: Any
    lock: threading.Lock
    function_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """An integer function's type.

    Attributes:
        name: Export name.
        parameters: ``i`` or ``I`` for each parameter of 32 or 64 bits.
        result: ``i``, ``I`` or nothing.
    """

    name: str
    parameters: str
    result: str


def make_function(
    owner: InstanceOwner, lib: Any, function: Any, signature: Signature
) -> WasmFunction:
    """Builds the Python callable for an exported function.

    It holds no native object but the arrays: what it calls is reached through ``owner.native`` each
    time, so that closing the instance frees it.
    """
    name = signature.name
    parameter_count = len(signature.parameters)
    slots = ffi.new("uint64_t[]", max(parameter_count, 1))
    result = ffi.cast("int32_t *" if signature.result == "i" else "int64_t *", slots)
    has_result = bool(signature.result)
    masks = tuple(enumerate(_MASKS[letter] for letter in signature.parameters))
    message = ffi.new("char[]", MESSAGE_CAPACITY)
    native_call: Callable[..., int] = lib.iwh_wamr_aot_call

    def call_wasm(*arguments: int) -> int | None:
        instance = owner.native
        if instance is None:
            msg = f"call of {name!r} after its instance was closed"
            raise ClosedError(msg)
        if len(arguments) != parameter_count:
            msg = f"{name!r} takes {parameter_count} integers, got {len(arguments)}"
            raise ArgumentError(msg)
        with owner.lock:
            try:
                for (slot, mask), argument in zip(masks, arguments):  # noqa: B905  # checked above
                    slots[slot] = argument & mask
            except TypeError as type_error:
                msg = f"{name!r} takes {parameter_count} integers, got {arguments!r}"
                raise ArgumentError(msg) from type_error
            outcome = native_call(instance, function, slots, message, MESSAGE_CAPACITY)
            if outcome == RETURNED:
                return result[0] if has_result else None
            if outcome == TRAPPED:
                frames = trap_frames(lib, instance, owner.function_names)
                raise trap_error(name, message_text(message), frames)
        msg = f"call of {name!r} was interrupted"
        raise InterruptedCallError(msg)

    call_wasm.__name__ = call_wasm.__qualname__ = name
    return call_wasm
