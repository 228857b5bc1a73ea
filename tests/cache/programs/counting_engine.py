"""An engine that counts what it compiles and what it is given to deserialize."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.errors import WasmCompileError

if TYPE_CHECKING:
    from iree_wasm_hal.engine import Engine, EngineInfo, Instance, Memory, MemoryType, Program

__all__ = ["CountingEngine"]


class CountingEngine:
    """Does what another engine does.

    Attributes:
        compiled: Modules so far.
        deserialized: Images so far.
        artifact_key: As the other engine's at first.
        refuses: Whether it refuses every image.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.compiled: list[bytes] = []
        self.deserialized: list[bytes] = []
        self.artifact_key: str | None = engine.artifact_key
        self.refuses = False

    @property
    def info(self) -> EngineInfo:
        return self._engine.info

    def compile(self, wasm: bytes) -> Program:
        self.compiled.append(wasm)
        return self._engine.compile(wasm)

    def deserialize(self, image: bytes) -> Program:
        self.deserialized.append(image)
        if self.refuses:
            raise WasmCompileError("refused")
        return self._engine.deserialize(image)

    def create_memory(self, memory_type: MemoryType) -> Memory:
        return self._engine.create_memory(memory_type)

    def instantiate(self, program: Program, memory: Memory) -> Instance:
        return self._engine.instantiate(program, memory)

    def close(self) -> None:
        self._engine.close()
