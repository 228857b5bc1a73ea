"""Instances and their exported functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.engine import Signature
from iree_wasm_hal.errors import ClosedError, EngineError
from iree_wasm_hal_wasm3.c_api import ffi
from iree_wasm_hal_wasm3.call import make_function
from iree_wasm_hal_wasm3.program import table_size
from iree_wasm_hal_wasm3.runtime import Runtime
from iree_wasm_hal_wasm3.validation.module import FUNCTION, I32, I64

if TYPE_CHECKING:
    from typing import Any

    from iree_wasm_hal.engine import WasmFunction
    from iree_wasm_hal_wasm3.memory import NativeMemory
    from iree_wasm_hal_wasm3.native_stack import StackBudget
    from iree_wasm_hal_wasm3.program import Wasm3Program
    from iree_wasm_hal_wasm3.validation import ModuleInfo

_BITS = {I32: 32, I64: 64}


class Wasm3Instance:
    """Implements ``iree_wasm_hal.engine.Instance``.

    Attributes:
        runtime: Its wasm3 runtime; None when closed. Functions read it at every call.
        memory: The memory it is bound to.
        info: What its module declares.
    """

    def __init__(
        self, lib: Any, program: Wasm3Program, memory: NativeMemory, budget: StackBudget
    ) -> None:
        self.info: ModuleInfo = program.info()
        self.memory = memory
        self._budget = budget
        stack = budget.value_stack_byte_length(self.info.bodies)
        size = table_size(self.info)
        self.runtime: Runtime | None = Runtime(lib, program.wasm, stack, memory.header, size)

    def function(self, name: str) -> WasmFunction:
        """The exported function ``name``, of i32 and i64 parameters and at most one such result."""
        runtime = self._open()
        export = self.info.exports.get(name)
        if export is None or export.kind != FUNCTION:
            msg = f"the program exports no function {name!r}"
            raise EngineError(msg)
        function_type = self.info.functions[export.index]
        if not set(function_type.parameters + function_type.results) <= set(_BITS):
            msg = f"exported function {name!r} has floats in its type; expected only i32 and i64"
            raise EngineError(msg)
        parameter_bits = tuple(_BITS[each] for each in function_type.parameters)
        results = [_BITS[each] for each in function_type.results]
        signature = Signature(name, parameter_bits, results[0] if results else None)
        pointer = ffi.addressof(runtime.module.functions[export.index])
        return make_function(self, runtime, pointer, signature, self._budget.thread_check)

    def interrupt(self) -> None:
        """Not possible."""
        self._open()
        msg = "engine 'wasm3' cannot interrupt a call: its loops look at nothing while they run"
        raise EngineError(msg)

    def close(self) -> None:
        """Frees the instance, at once or when its running call ends."""
        runtime, self.runtime = self.runtime, None
        if runtime is not None:
            self.memory.unbind(runtime)

    def _open(self) -> Runtime:
        runtime = self.runtime
        if runtime is None:
            msg = "instance is closed"
            raise ClosedError(msg)
        return runtime
