"""The hot path: one Python call to one wasm call, through the isolate's mailbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from iree_wasm_hal.errors import ArgumentError, ClosedError, InternalError, InterruptedCallError
from iree_wasm_hal_v8.c_api import ffi
from iree_wasm_hal_v8.isolate import (
    FIRST_ARGUMENT_SLOT,
    NOT_FINISHED,
    RESULT_SLOT,
    RETURNED,
    THREW,
    Call,
    RequestError,
)
from iree_wasm_hal_v8.messages import trap_error

if TYPE_CHECKING:
    from iree_wasm_hal.engine import Signature, WasmFunction
    from iree_wasm_hal_v8.isolate import Isolate


class Owner(Protocol):
    """An instance, as its functions see it.

    Attributes:
        isolate: Its isolate; None when it is closed.
        functions: The native handle of each function that was asked for.
    """

    isolate: Isolate | None
    functions: dict[str, Any]


def make_function(owner: Owner, isolate: Isolate, signature: Signature) -> WasmFunction:
    """Builds the Python callable for an exported function.

    It holds the isolate's mailbox but no native function: what it calls is reached through
    ``owner`` each time, so that closing the instance frees it.
    """
    name = signature.name
    parameter_count = len(signature.parameter_bits)
    # i32 values are in the low half of their slot: every supported CPU is little-endian.
    slots = isolate.slots
    result_type = "int32_t *" if signature.result_bits == 32 else "int64_t *"
    result = ffi.cast(result_type, slots + RESULT_SLOT)
    has_result = signature.result_bits is not None
    stores = tuple(
        (FIRST_ARGUMENT_SLOT + index, 2**bits - 1)
        for index, bits in enumerate(signature.parameter_bits)
    )
    del isolate

    def call_wasm(*arguments: int) -> int | None:
        isolate, function = owner.isolate, owner.functions.get(name)
        if isolate is None or function is None:
            msg = f"call of {name!r} after its instance was closed"
            raise ClosedError(msg)
        if len(arguments) != parameter_count:
            msg = f"{name!r} takes {parameter_count} integers, got {len(arguments)}"
            raise ArgumentError(msg)
        with isolate.turn:
            try:
                for (slot, mask), argument in zip(stores, arguments):  # noqa: B905  # checked above
                    slots[slot] = argument & mask
            except TypeError as type_error:
                msg = f"{name!r} takes {parameter_count} integers, got {arguments!r}"
                raise ArgumentError(msg) from type_error
            status = isolate.run(function, Call(owner))
            if status == RETURNED:
                return result[0] if has_result else None
            thrown = _thrown(isolate) if status == THREW else None
        return _raise(status, thrown, name)

    call_wasm.__name__ = call_wasm.__qualname__ = name
    return call_wasm


def _thrown(isolate: Isolate) -> RequestError:
    return RequestError(**isolate.request("thrown"))


def _raise(status: int, thrown: RequestError | None, name: str) -> int | None:
    """Raises what ended the call."""
    if thrown is not None:
        raise trap_error(thrown, name) from thrown
    if status == NOT_FINISHED:
        msg = f"call of {name!r} was interrupted"
        raise InterruptedCallError(msg)
    msg = f"call of {name!r} left status {status}"
    raise InternalError(msg)
