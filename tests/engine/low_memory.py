"""An engine whose memories begin with a pattern, to see that nobody uses their first 64 KiB."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np

import iree_wasm_hal as iwh
from iree_wasm_hal.engine import LOW_MEMORY_BYTE_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iree_wasm_hal.engine import Engine, EngineInfo, Instance, Memory, MemoryType, Program

__all__ = ["PatternedEngine", "low_memory_unused"]

# No byte of it is 0, and no two words of it are the same.
PATTERN = (np.arange(LOW_MEMORY_BYTE_LENGTH // 4, dtype="<u4") * 0x10101 | 0x80808080).tobytes()


class PatternedEngine:
    """Does what another engine does; its memories are not zero at first.

    What reads the first 64 KiB gets other results than a right program does.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._views: list[memoryview] = []

    @property
    def info(self) -> EngineInfo:
        return self._engine.info

    @property
    def artifact_key(self) -> str | None:
        return self._engine.artifact_key

    def compile(self, wasm: bytes) -> Program:
        return self._engine.compile(wasm)

    def deserialize(self, image: bytes) -> Program:
        return self._engine.deserialize(image)

    def instantiate(self, program: Program, memory: Memory) -> Instance:
        return self._engine.instantiate(program, memory)

    def close(self) -> None:
        self._engine.close()

    def create_memory(self, memory_type: MemoryType) -> Memory:
        """A memory with the pattern in its first 64 KiB."""
        memory = self._engine.create_memory(memory_type)
        view = memory.view()[:LOW_MEMORY_BYTE_LENGTH]
        view[:] = PATTERN
        self._views.append(view)
        return memory

    def check(self) -> None:
        """Asserts that the pattern is still there, in each memory so far."""
        views, self._views = self._views, []
        for view in views:
            now = np.frombuffer(view, np.uint8)
            changed = np.flatnonzero(now != np.frombuffer(PATTERN, np.uint8))
            assert not changed.size, f"{changed.size} bytes were written, first {changed[0]:#x}"


@contextlib.contextmanager
def low_memory_unused(engine_name: str) -> Iterator[PatternedEngine]:
    """An engine; at the end of the block it is closed, and its memories must have the pattern."""
    with contextlib.closing(PatternedEngine(iwh.open_engine(engine_name))) as engine:
        yield engine
        engine.check()
