"""Compiled modules."""

from __future__ import annotations

import itertools
import weakref
from typing import TYPE_CHECKING, Any

from iree_wasm_hal.engine import Signature
from iree_wasm_hal.errors import ClosedError, EngineError, WasmCompileError
from iree_wasm_hal_v8.isolate import RequestError

if TYPE_CHECKING:
    from iree_wasm_hal_v8.isolate import Isolate

_BITS = {"i32": 32, "i64": 64}

entry_ids = itertools.count(1)
"""Numbers for what host.js keeps, unique in the process."""


class V8Program:
    """Implements ``iree_wasm_hal.engine.Program``.

    A module belongs to the isolate that compiled it: the isolate of each memory has to compile it
    again. That is cheap, because V8 keeps one copy of the code of equal modules for all isolates,
    as long as one of them holds it, and this program's does.

    Attributes:
        engine_id: Which engine compiled it.
        program_id: Its number in host.js.
    """

    def __init__(self, engine_id: object, isolate: Isolate, wasm: bytes) -> None:
        self.engine_id = engine_id
        self.program_id = next(entry_ids)
        self._wasm: bytes | None = wasm
        with isolate.turn:
            isolate.stage(wasm)
            description: dict[str, Any] = isolate.request("compile", self.program_id)
        self._imports: list[list[str]] = description["imports"]
        self._functions: dict[str, tuple[list[str], list[str]]] = {
            name: (parameters, results) for name, parameters, results in description["functions"]
        }
        self._release = weakref.finalize(self, isolate.abandon, self.program_id)
        self._release.atexit = False

    def serialize(self) -> bytes:
        """Not possible: mini-racer does not expose V8's code serializer."""
        self.wasm()
        msg = (
            "engine 'v8' cannot serialize programs: mini-racer does not expose V8's code serializer"
        )
        raise EngineError(msg)

    def close(self) -> None:
        """Gives the program up; instances keep the code alive."""
        self._wasm = None
        self._release()

    def wasm(self) -> bytes:
        """The module's bytes, for this plugin's own use."""
        wasm = self._wasm
        if wasm is None:
            msg = "program is closed"
            raise ClosedError(msg)
        return wasm

    def check_imports(self) -> None:
        """Checks that the one import is the memory ``env.memory``.

        Raises:
            EngineError: Names the imports.
        """
        if self._imports != [["env.memory", "memory"]]:
            names = ", ".join(name for name, _ in self._imports) or "nothing"
            msg = f"program imports {names}; expected exactly the memory env.memory"
            raise EngineError(msg)

    def signature(self, name: str) -> Signature:
        """Type of an exported function.

        Raises:
            EngineError: There is no such function, or it takes or gives other than integers.
        """
        if name not in self._functions:
            msg = f"the program exports no function {name!r}"
            raise EngineError(msg)
        parameters, results = self._functions[name]
        if len(results) > 1 or not {*parameters, *results} <= set(_BITS):
            msg = (
                f"exported function {name!r} has type ({', '.join(parameters)}) -> "
                f"({', '.join(results)}); expected only i32 and i64 and at most one result"
            )
            raise EngineError(msg)
        bits = tuple(_BITS[parameter] for parameter in parameters)
        return Signature(name, bits, _BITS[results[0]] if results else None)


def compile_program(engine_id: object, isolate: Isolate, wasm: bytes, v8_version: str) -> V8Program:
    """Compiles a module.

    Raises:
        WasmCompileError: V8 refuses it.
    """
    try:
        return V8Program(engine_id, isolate, wasm)
    except RequestError as error:
        msg = f"V8 {v8_version} cannot compile the module ({len(wasm)} bytes): {error.message}"
        raise WasmCompileError(msg) from error
