"""An engine with a clock around every call into wasm."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from iree_wasm_hal.engine import (
        Engine,
        EngineInfo,
        Instance,
        Memory,
        MemoryType,
        Program,
        WasmFunction,
    )

__all__ = ["Clock", "ClockedEngine"]


@dataclass
class Clock:
    """What went through an engine."""

    seconds: float = 0.0
    """CPU time of the process in calls of exported functions, what a call costs included."""
    calls: int = 0
    compiled: list[bytes] = field(default_factory=list)
    """The modules, as the device relinked them."""
    memory_types: list[MemoryType] = field(default_factory=list)

    def reset(self) -> None:
        """Starts counting calls anew."""
        self.seconds, self.calls = 0.0, 0


class _ClockedInstance:
    def __init__(self, instance: Instance, clock: Clock) -> None:
        self._instance = instance
        self._clock = clock

    def function(self, name: str) -> WasmFunction:
        function = self._instance.function(name)
        clock, now = self._clock, time.process_time

        def call_wasm(*arguments: int) -> int | None:
            start = now()
            try:
                return function(*arguments)
            finally:
                clock.seconds += now() - start
                clock.calls += 1

        return call_wasm

    def interrupt(self) -> None:
        self._instance.interrupt()

    def close(self) -> None:
        self._instance.close()


class ClockedEngine:
    """Does what another engine does and keeps a clock. For one thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.clock = Clock()

    @property
    def info(self) -> EngineInfo:
        return self._engine.info

    @property
    def artifact_key(self) -> None:
        """None: every module is compiled, so that ``Clock.compiled`` has it."""

    def compile(self, wasm: bytes) -> Program:
        self.clock.compiled.append(wasm)
        return self._engine.compile(wasm)

    def deserialize(self, image: bytes) -> Program:
        return self._engine.deserialize(image)

    def create_memory(self, memory_type: MemoryType) -> Memory:
        self.clock.memory_types.append(memory_type)
        return self._engine.create_memory(memory_type)

    def instantiate(self, program: Program, memory: Memory) -> Instance:
        return _ClockedInstance(self._engine.instantiate(program, memory), self.clock)

    def close(self) -> None:
        self._engine.close()
