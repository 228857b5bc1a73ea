"""Instances and their exported functions."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from iree_wasm_hal.errors import ClosedError, EngineError
from iree_wasm_hal_v8.call import make_function
from iree_wasm_hal_v8.isolate import RequestError
from iree_wasm_hal_v8.program import entry_ids

if TYPE_CHECKING:
    from iree_wasm_hal.engine import Signature, WasmFunction
    from iree_wasm_hal_v8.isolate import Isolate
    from iree_wasm_hal_v8.memory import NativeMemory
    from iree_wasm_hal_v8.program import V8Program


class V8Instance:
    """Implements ``iree_wasm_hal.engine.Instance``.

    Attributes:
        isolate: Its memory's isolate; None when closed. Functions read it at every call.
        functions: The native handle of each function that was asked for.
    """

    def __init__(self, program: V8Program, memory: NativeMemory) -> None:
        program.check_imports()
        self.isolate: Isolate | None = memory.isolate
        self.functions: dict[str, Any] = {}
        self._signature = program.signature
        self._instance_id = next(entry_ids)
        _instantiate(memory.isolate, program, self._instance_id)
        self._release = weakref.finalize(self, memory.isolate.abandon, self._instance_id)
        self._release.atexit = False

    def function(self, name: str) -> WasmFunction:
        """The exported function ``name``, of i32 and i64 parameters and at most one such result."""
        isolate = self._open_isolate()
        signature = self._signature(name)
        if name not in self.functions:
            self.functions[name] = self._bind(isolate, signature)
        return make_function(self, isolate, signature)

    def interrupt(self) -> None:
        """Ends the call that is running on this instance, and no other."""
        isolate = self._open_isolate()
        call = isolate.call
        if call is not None and call.owner is self:
            isolate.cancel(call)

    def close(self) -> None:
        """Frees the instance, before the next use of its isolate."""
        self.isolate = None
        self.functions = {}
        self._release()

    def _open_isolate(self) -> Isolate:
        isolate = self.isolate
        if isolate is None:
            msg = "instance is closed"
            raise ClosedError(msg)
        return isolate

    def _bind(self, isolate: Isolate, signature: Signature) -> Any:
        kinds = [f"i{bits}" for bits in signature.parameter_bits]
        results = [f"i{signature.result_bits}"] if signature.result_bits else []
        with isolate.turn:
            return isolate.handle(
                "bind",
                self._instance_id,
                signature.name,
                {"parameters": kinds, "results": results},
            )


def _instantiate(isolate: Isolate, program: V8Program, instance_id: int) -> None:
    """Makes the ``WebAssembly.Instance``, compiling the module where this isolate lacks it."""
    wasm = program.wasm()
    try:
        with isolate.turn:
            if not isolate.request("instantiate", program.program_id, instance_id):
                isolate.stage(wasm)
                isolate.request("instantiate", program.program_id, instance_id)
    except RequestError as error:
        msg = f"the program does not fit the memory: {error.message}"
        raise EngineError(msg) from error
