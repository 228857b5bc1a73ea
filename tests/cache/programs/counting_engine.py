"""An engine that counts what it compiles and what it is given to deserialize."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.errors import EngineError

if TYPE_CHECKING:
    from iree_wasm_hal.engine import Engine, EngineInfo, Instance, Memory, MemoryType, Program
    from iree_wasm_hal.errors import Error

__all__ = ["CountingEngine"]


class _Unkept:
    """A program of which the engine gives no image out."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def serialize(self) -> bytes:
        raise EngineError("no image")

    def close(self) -> None:
        self.program.close()


class CountingEngine:
    """Does what another engine does.

    Attributes:
        compiled: Modules so far.
        deserialized: Images so far.
        artifact_key: As the other engine's at first.
        refusal: What it raises of every image, if not None.
        gives_none: Whether its programs refuse to be serialized.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.compiled: list[bytes] = []
        self.deserialized: list[bytes] = []
        self.artifact_key: str | None = engine.artifact_key
        self.refusal: type[Error] | None = None
        self.gives_none = False

    @property
    def info(self) -> EngineInfo:
        return self._engine.info

    def compile(self, wasm: bytes) -> Program:
        self.compiled.append(wasm)
        program = self._engine.compile(wasm)
        return _Unkept(program) if self.gives_none else program

    def deserialize(self, image: bytes) -> Program:
        self.deserialized.append(image)
        if self.refusal is not None:
            raise self.refusal("refused")
        return self._engine.deserialize(image)

    def create_memory(self, memory_type: MemoryType) -> Memory:
        return self._engine.create_memory(memory_type)

    def instantiate(self, program: Program, memory: Memory) -> Instance:
        own = program.program if isinstance(program, _Unkept) else program
        return self._engine.instantiate(own, memory)

    def close(self) -> None:
        self._engine.close()
