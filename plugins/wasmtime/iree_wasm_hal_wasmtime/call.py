"""The hot path: one Python call to one wasm call, through a preallocated value array."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from iree_wasm_hal.errors import ArgumentError, ClosedError, EngineError, InterruptedCallError
from iree_wasm_hal_wasmtime.c_api import RAW_SLOT_WORDS, ffi
from iree_wasm_hal_wasmtime.interruption import Call
from iree_wasm_hal_wasmtime.memory_creator import raise_postponed
from iree_wasm_hal_wasmtime.messages import take_error_message, take_trap

if TYPE_CHECKING:
    from collections.abc import Callable

    from iree_wasm_hal.engine import Signature, StackCheck, WasmFunction
    from iree_wasm_hal_wasmtime.store import Store


class StoreOwner(Protocol):
    """An instance, as its functions see it."""

    store: Store | None


def make_function(
    owner: StoreOwner, store: Store, func: Any, signature: Signature, stack_check: StackCheck
) -> WasmFunction:
    """Builds the Python callable for an exported function.

    It holds no native object but the value array: what it calls is reached through ``owner.store``
    each time, so that closing the instance frees it.
    """
    name = signature.name
    parameter_count = len(signature.parameter_bits)
    slot_count = max(parameter_count, 1)
    slots = ffi.new("uint64_t[]", RAW_SLOT_WORDS * slot_count)
    # Values are little-endian in memory (wasmtime/val.h), as is every supported CPU.
    result_type = "int32_t *" if signature.result_bits == 32 else "int64_t *"
    result = ffi.cast(result_type, slots)
    has_result = signature.result_bits is not None
    stores = tuple(
        (RAW_SLOT_WORDS * index, 2**bits - 1) for index, bits in enumerate(signature.parameter_bits)
    )
    trap = ffi.new("wasm_trap_t **")
    null = ffi.NULL
    func_call: Callable[..., Any] = store.lib.wasmtime_func_call_unchecked
    del store

    def call_wasm(*arguments: int) -> int | None:
        store = owner.store
        if store is None:
            msg = f"call of {name!r} after its instance was closed"
            raise ClosedError(msg)
        if not stack_check.passed:
            stack_check.check()
        if len(arguments) != parameter_count:
            msg = f"{name!r} takes {parameter_count} integers, got {len(arguments)}"
            raise ArgumentError(msg)
        call = Call(owner)
        with store.lock:
            try:
                for (word, mask), argument in zip(stores, arguments):  # noqa: B905  # checked above
                    slots[word] = argument & mask
            except TypeError as type_error:
                msg = f"{name!r} takes {parameter_count} integers, got {arguments!r}"
                raise ArgumentError(msg) from type_error
            store.running.call = call
            try:
                error = func_call(store.context, func, slots, slot_count, trap)
            except BaseException:  # Ctrl-C, behind the call; raised again
                store.running.call = None
                _forget(store, trap)
                raise
            store.running.call = None
            if error == null and trap[0] == null:
                return result[0] if has_result else None
            stopped_trap = trap[0]
            trap[0] = null
        return _raise(store, call, error, stopped_trap, name)

    call_wasm.__name__ = call_wasm.__qualname__ = name
    return call_wasm


def _forget(store: Store, trap: Any) -> None:
    """Deletes the trap that nobody was told of: the next call would take it for its own."""
    unseen, trap[0] = trap[0], ffi.NULL
    if unseen != ffi.NULL:
        store.lib.wasm_trap_delete(unseen)


def _raise(store: Store, call: Call, error: Any, trap: Any, name: str) -> int | None:
    """Raises what ended the call, and deletes the native error or trap."""
    try:
        if trap:
            raise take_trap(store.lib, trap, name)
        message = take_error_message(store.lib, error)
        if call.stopped:
            msg = f"call of {name!r} was interrupted"
            raise InterruptedCallError(msg)
        msg = f"call of {name!r} failed: {message}"
        raise EngineError(msg)
    finally:
        raise_postponed()
