"""Instances and their exported functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iree_wasm_hal.engine import Signature
from iree_wasm_hal.errors import ClosedError, EngineError
from iree_wasm_hal_wasmtime.c_api import (
    EXTERN_FUNC,
    VALKIND_I32,
    VALKIND_I64,
    ffi,
)
from iree_wasm_hal_wasmtime.call import make_function
from iree_wasm_hal_wasmtime.messages import take_error_message, take_trap

if TYPE_CHECKING:
    from iree_wasm_hal.engine import StackCheck, WasmFunction
    from iree_wasm_hal_wasmtime.interruption import Ticker
    from iree_wasm_hal_wasmtime.memory import NativeMemory
    from iree_wasm_hal_wasmtime.program import WasmtimeProgram
    from iree_wasm_hal_wasmtime.store import Store

_BITS = {VALKIND_I32: 32, VALKIND_I64: 64}


class WasmtimeInstance:
    """Implements ``iree_wasm_hal.engine.Instance``.

    Attributes:
        store: The store it lives in; None when closed. Functions read it at every call.
    """

    def __init__(
        self,
        program: WasmtimeProgram,
        memory: NativeMemory,
        ticker: Ticker,
        stack_check: StackCheck,
    ) -> None:
        program.check_imports()
        self.store: Store | None = memory.new_store()
        self._memory: NativeMemory | None = memory
        self._ticker = ticker
        self._stack_check = stack_check
        self._instance = _instantiate(self.store, program, memory)

    def function(self, name: str) -> WasmFunction:
        """The exported function ``name``, of i32 and i64 parameters and at most one such result."""
        store = self._open_store()
        extern = ffi.new("wasmtime_extern_t *")
        encoded = name.encode("utf-8", "surrogatepass")
        with store.lock:
            found = store.lib.wasmtime_instance_export_get(
                store.context, self._instance, encoded, len(encoded), extern
            )
            if not found or extern.kind != EXTERN_FUNC:
                if found:
                    store.lib.wasmtime_extern_delete(extern)
                msg = f"the program exports no function {name!r}"
                raise EngineError(msg)
            func = ffi.new("wasmtime_func_t *", extern.of.func)
            signature = _signature(store, func, name)
        return make_function(self, store, func, signature, self._stack_check)

    def interrupt(self) -> None:
        """Ends the call that is running on this instance, and no other."""
        running = self._open_store().running
        call = running.call
        if call is not None and call.owner is self:
            self._ticker.cancel(running, call)

    def close(self) -> None:
        """Frees the instance, with its store."""
        self.store = None
        self._memory = None

    def _open_store(self) -> Store:
        store = self.store
        if store is None:
            msg = "instance is closed"
            raise ClosedError(msg)
        return store


def _instantiate(store: Store, program: WasmtimeProgram, memory: NativeMemory) -> Any:
    """Creates the ``wasmtime_instance_t``."""
    lib = store.lib
    imports = ffi.new("wasmtime_extern_t *")
    memory.fill_extern(store, imports)
    instance, trap = ffi.new("wasmtime_instance_t *"), ffi.new("wasm_trap_t **")
    with store.lock:
        error = lib.wasmtime_instance_new(
            store.context, program.native(), imports, 1, instance, trap
        )
    if error:
        msg = f"the program does not fit the memory: {take_error_message(lib, error)}"
        raise EngineError(msg)
    if trap[0]:
        raise take_trap(lib, trap[0], "instantiate")
    return instance


def _signature(store: Store, func: Any, name: str) -> Signature:
    lib = store.lib
    pointer = ffi.gc(lib.wasmtime_func_type(store.context, func), lib.wasm_functype_delete)
    parameters = _kinds(lib, lib.wasm_functype_params(pointer))
    results = _kinds(lib, lib.wasm_functype_results(pointer))
    if len(results) > 1 or not set(parameters + results) <= set(_BITS):
        msg = (
            f"exported function {name!r} has {len(parameters)} parameters and {len(results)} "
            f"results; expected only i32 and i64 and at most one result"
        )
        raise EngineError(msg)
    bits = tuple(_BITS[kind] for kind in parameters)
    return Signature(name, bits, _BITS[results[0]] if results else None)


def _kinds(lib: Any, vector: Any) -> list[int]:
    return [lib.wasm_valtype_kind(vector.data[index]) for index in range(vector.size)]
