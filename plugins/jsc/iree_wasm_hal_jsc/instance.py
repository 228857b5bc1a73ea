"""Instances and their exported functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.errors import ClosedError, EngineError
from iree_wasm_hal_jsc.call import make_function
from iree_wasm_hal_jsc.virtual_machine import Entry, OperationError, Table

if TYPE_CHECKING:
    from iree_wasm_hal.engine import WasmFunction
    from iree_wasm_hal_jsc.memory import NativeMemory
    from iree_wasm_hal_jsc.program import NativeProgram


class NativeInstance(Entry):
    """A ``WebAssembly.Instance``; it keeps its program and memory alive."""

    __slots__ = ("_memory", "program")

    def __init__(self, program: NativeProgram, memory: NativeMemory, entry_id: int) -> None:
        super().__init__(program.machine, Table.INSTANCES, entry_id)
        self.program = program
        self._memory = memory


class JscInstance:
    """Implements ``iree_wasm_hal.engine.Instance``.

    Attributes:
        native: What it is made of; None when closed. Functions read it at every call.
    """

    def __init__(self, native: NativeInstance) -> None:
        self.native: NativeInstance | None = native

    def function(self, name: str) -> WasmFunction:
        """The exported function ``name``, of i32 and i64 parameters and at most one such result."""
        native = self._open()
        index, signature = native.program.function(name)
        with native.machine.entered():
            number = native.machine.run("bind", native.entry_id, index)
        return make_function(self, number, signature)

    def interrupt(self) -> None:
        """Not possible: JavaScriptCore's watchdog looks at JavaScript, not at wasm loops."""
        self._open()
        msg = "engine 'jsc' cannot interrupt a call: JavaScriptCore does not stop wasm code"
        raise EngineError(msg)

    def close(self) -> None:
        """Frees the instance, when a call that runs on it is over."""
        self.native = None

    def _open(self) -> NativeInstance:
        native = self.native
        if native is None:
            msg = "instance is closed"
            raise ClosedError(msg)
        return native


def instantiate(program: NativeProgram, memory: NativeMemory) -> JscInstance:
    """Binds a program to a memory of the same machine.

    Raises:
        EngineError: The program's import does not fit the memory.
    """
    program.check_imports()
    with program.machine.entered():
        try:
            entry_id = program.machine.run("instantiate", program.entry_id, memory.entry_id)
        except OperationError as error:
            msg = f"the program does not fit the memory: {error.message}"
            raise EngineError(msg) from error
    return JscInstance(NativeInstance(program, memory, entry_id))
