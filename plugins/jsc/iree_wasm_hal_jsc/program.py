"""Compiled modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iree_wasm_hal.engine import Signature
from iree_wasm_hal.errors import ClosedError, EngineError
from iree_wasm_hal_jsc.virtual_machine import Entry, Table

if TYPE_CHECKING:
    from iree_wasm_hal_jsc.virtual_machine import VirtualMachine

_BITS = {"i32": 32, "i64": 64}


class NativeProgram(Entry):
    """A ``WebAssembly.Module`` and the types of its imports and exports.

    Create it with the machine's lock held, from an id that ``compile`` gave.
    """

    __slots__ = ("_exports", "_imports")

    def __init__(self, machine: VirtualMachine, entry_id: int) -> None:
        super().__init__(machine, Table.PROGRAMS, entry_id)
        types = machine.receive("inspect", entry_id)
        self._imports = [
            (f"{each['module']}.{each['name']}", each["kind"]) for each in types["imports"]
        ]
        self._exports: dict[str, tuple[int, dict[str, Any]]] = {
            each["name"]: (index, each) for index, each in enumerate(types["exports"])
        }

    def check_imports(self) -> None:
        """Checks that the one import is the memory ``env.memory``.

        Raises:
            EngineError: Names the imports.
        """
        if self._imports != [("env.memory", "memory")]:
            names = ", ".join(name for name, _ in self._imports) or "nothing"
            msg = f"program imports {names}; expected exactly the memory env.memory"
            raise EngineError(msg)

    def function(self, name: str) -> tuple[int, Signature]:
        """Which of the exports an exported function is, and its type.

        Raises:
            EngineError: There is no such function, or it has other types than i32 and i64.
        """
        index, export = self._exports.get(name, (0, None))
        if export is None or export["kind"] != "function":
            msg = f"the program exports no function {name!r}"
            raise EngineError(msg)
        parameters, results = export["type"]["parameters"], export["type"]["results"]
        if len(results) > 1 or not {*parameters, *results} <= set(_BITS):
            msg = (
                f"exported function {name!r} has parameters {parameters} and results {results}; "
                f"expected only i32 and i64 and at most one result"
            )
            raise EngineError(msg)
        bits = tuple(_BITS[each] for each in parameters)
        return index, Signature(name, bits, _BITS[results[0]] if results else None)


class JscProgram:
    """Implements ``iree_wasm_hal.engine.Program``.

    Attributes:
        machine: The machine that compiled it.
    """

    def __init__(self, native: NativeProgram) -> None:
        self.machine = native.machine
        self._native: NativeProgram | None = native

    def serialize(self) -> bytes:
        """Not possible: no API of JavaScriptCore gives compiled wasm out."""
        self.native()
        msg = "engine 'jsc' cannot serialize programs: no public API gives compiled code out"
        raise EngineError(msg)

    def close(self) -> None:
        """Gives the program up; instances keep the code alive."""
        self._native = None

    def native(self) -> NativeProgram:
        """The native program, for this plugin's own use."""
        native = self._native
        if native is None:
            msg = "program is closed"
            raise ClosedError(msg)
        return native
