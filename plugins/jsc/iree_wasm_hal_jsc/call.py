"""The hot path: one Python call to one wasm call, through the machine's mailbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from iree_wasm_hal.errors import ArgumentError, ClosedError
from iree_wasm_hal_jsc.c_api import ffi
from iree_wasm_hal_jsc.messages import trap_error

if TYPE_CHECKING:
    from iree_wasm_hal.engine import Signature, WasmFunction
    from iree_wasm_hal_jsc.virtual_machine import Entry


class InstanceOwner(Protocol):
    """An instance, as its functions see it."""

    @property
    def native(self) -> Entry | None:
        """What the instance is made of; None when closed."""
        ...


def make_function(owner: InstanceOwner, number: int, signature: Signature) -> WasmFunction:
    """Builds the Python callable for an exported function.

    It reaches the native instance through ``owner.native`` each time, so that closing the instance
    frees it. ``number`` is the machine's, valid as long as that.
    """
    name = signature.name
    masks = tuple((index, 2**bits - 1) for index, bits in enumerate(signature.parameter_bits))
    parameter_count = len(masks)
    has_result = signature.result_bits is not None
    result_type = "int32_t *" if signature.result_bits == 32 else "int64_t *"
    cast = ffi.cast

    def call_wasm(*arguments: int) -> int | None:
        native = owner.native
        if native is None:
            msg = f"call of {name!r} after its instance was closed"
            raise ClosedError(msg)
        if len(arguments) != parameter_count:
            msg = f"{name!r} takes {parameter_count} integers, got {len(arguments)}"
            raise ArgumentError(msg)
        machine = native.machine
        slots = machine.slots
        with machine.lock:
            try:
                for (index, mask), argument in zip(masks, arguments):  # noqa: B905  # checked above
                    slots[index] = argument & mask
            except TypeError as type_error:
                msg = f"{name!r} takes {parameter_count} integers, got {arguments!r}"
                raise ArgumentError(msg) from type_error
            if machine.request(number):
                result = cast(result_type, slots)[0] if has_result else None
                failure = None
            else:
                result = None
                failure = machine.failure()
        if machine.has_pending:
            machine.finish()
        if failure is not None:
            raise trap_error(failure, name) from failure
        return result

    call_wasm.__name__ = call_wasm.__qualname__ = name
    return call_wasm
