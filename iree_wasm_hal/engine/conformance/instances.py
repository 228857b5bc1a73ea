"""Instances: what they share, what they own, what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from iree_wasm_hal.engine import PAGE_SIZE, MemoryType
from iree_wasm_hal.engine.conformance.suite import SuiteBase, load_module
from iree_wasm_hal.errors import ClosedError, EngineError, TrapError

if TYPE_CHECKING:
    from iree_wasm_hal.engine import Engine

_MAPS = Path("/proc/self/maps")


class InstanceTests(SuiteBase):
    """``Engine.instantiate`` and ``Instance``."""

    def test_instantiate_writes_nothing(self, engine: Engine) -> None:
        memory = self.small_memory(engine)
        array = np.frombuffer(memory.view(), np.uint8)
        array[:] = np.arange(array.size) % 251
        for module in ("integers", "memory", "traps", "loops"):
            self.instantiate(engine, module, memory)
        np.testing.assert_array_equal(array, np.arange(array.size) % 251)

    def test_instances_share_the_memory(self, engine: Engine) -> None:
        memory = self.small_memory(engine)
        program = engine.compile(load_module("memory"))
        one, other = engine.instantiate(program, memory), engine.instantiate(program, memory)
        one.function("store32")(1000, 123456789)
        assert other.function("load32")(1000) == 123456789
        assert bytes(memory.view()[1000:1004]) == (123456789).to_bytes(4, "little")
        memory.view()[1000] ^= 1
        assert other.function("load32")(1000) == 123456788

    def test_instances_of_different_programs_share_the_memory(self, engine: Engine) -> None:
        memory = self.small_memory(engine)
        one = self.instantiate(engine, "memory", memory)
        other = self.instantiate(engine, "traps", memory)
        one.function("store32")(64, 77)
        assert other.function("load32")(64) == 77

    def test_instances_own_their_globals(self, engine: Engine) -> None:
        memory = self.small_memory(engine)
        program = engine.compile(load_module("memory"))
        one, other = engine.instantiate(program, memory), engine.instantiate(program, memory)
        assert [one.function("count")() for _ in range(3)] == [1, 2, 3]
        assert other.function("count")() == 1

    def test_instances_see_growth(self, engine: Engine) -> None:
        memory = self.small_memory(engine)
        early = self.instantiate(engine, "memory", memory)
        memory.grow(2)
        late = self.instantiate(engine, "memory", memory)
        for instance in (early, late):
            assert instance.function("page_count")() == 3
            instance.function("store32")(3 * 65536 - 4, 5)
            assert instance.function("load32")(3 * 65536 - 4) == 5

    def test_many_instances_come_and_go(self, engine: Engine) -> None:
        memory = self.small_memory(engine)
        program = engine.compile(load_module("memory"))
        for index in range(200):
            instance = engine.instantiate(program, memory)
            instance.function("store32")(4 * index, index)
            instance.close()
        np.testing.assert_array_equal(np.frombuffer(memory.view(), np.int32)[:200], range(200))

    @pytest.mark.skipif(not _MAPS.exists(), reason="counts mappings in /proc")
    def test_closed_instances_and_code_are_given_back(self, engine: Engine) -> None:
        memory = self.small_memory(engine)

        def use() -> None:
            program = engine.compile(load_module("memory"))
            instance = engine.instantiate(program, memory)
            instance.function("store32")(64, 1)
            instance.close()
            program.close()

        for _ in range(20):
            use()
        before = _mapping_count()
        for _ in range(100):
            use()
        # Code that is kept would be a mapping or two each.
        assert _mapping_count() - before < 50

    def test_all_instances_grow_with_the_memory(self, engine: Engine) -> None:
        memory = engine.create_memory(MemoryType(1, 65536))
        instances = [self.instantiate(engine, "memory", memory) for _ in range(3)]
        for page_count in (2, 3, 100):
            memory.grow(page_count - memory.page_count)
            instances.append(self.instantiate(engine, "memory", memory))
            for instance in instances:
                assert instance.function("page_count")() == page_count
                instance.function("store32")(page_count * PAGE_SIZE - 4, len(instances))
                with pytest.raises(TrapError):
                    instance.function("store32")(page_count * PAGE_SIZE - 3, 1)
            instances.pop(0).close()

    def test_instances_compute_the_same(self, engine: Engine) -> None:
        results = []
        for _ in range(3):
            memory = self.small_memory(engine)
            instance = self.instantiate(engine, "memory", memory)
            instance.function("generate")(64, 4096, 12345)
            results.append(bytes(memory.view()[: 64 + 4096 + 64]))
        assert results[0] == results[1] == results[2] == _generated(64, 4096, 12345)

    def test_function_must_exist(self, engine: Engine) -> None:
        instance = self.instantiate(engine, "integers", self.small_memory(engine))
        for name in ("absent", "", "constant\0", "env", "\ud800"):
            with pytest.raises(EngineError, match="function"):
                instance.function(name)

    def test_memory_must_fit(self, engine: Engine) -> None:
        program = engine.compile(load_module("needs_two_pages"))
        memory = self.small_memory(engine)
        with pytest.raises(EngineError):
            engine.instantiate(program, memory)
        memory.grow(1)
        engine.instantiate(program, memory).function("nothing")()

    def test_only_the_memory_may_be_imported(self, engine: Engine) -> None:
        program = engine.compile(load_module("imports_function"))
        with pytest.raises(EngineError, match="host"):
            engine.instantiate(program, self.small_memory(engine))

    def test_other_engines_objects_are_refused(self, engine: Engine) -> None:
        other = self.open_engine()
        program, memory = engine.compile(load_module("memory")), self.small_memory(engine)
        with pytest.raises(EngineError):
            engine.instantiate(program, self.small_memory(other))
        with pytest.raises(EngineError):
            engine.instantiate(other.compile(load_module("memory")), memory)
        with pytest.raises(EngineError):
            other.instantiate(program, memory)
        other.close()

    def test_instance_use_after_close(self, engine: Engine) -> None:
        instance = self.instantiate(engine, "memory", self.small_memory(engine))
        count = instance.function("count")
        assert count() == 1
        instance.close()
        instance.close()
        with pytest.raises(ClosedError):
            count()
        with pytest.raises(ClosedError):
            instance.function("count")

    def test_closing_one_instance_leaves_the_other(self, engine: Engine) -> None:
        memory = self.small_memory(engine)
        program = engine.compile(load_module("memory"))
        one, other = engine.instantiate(program, memory), engine.instantiate(program, memory)
        one.function("store32")(8, 9)
        one.close()
        assert other.function("load32")(8) == 9


def _generated(address: int, byte_length: int, seed: int) -> bytes:
    """What ``generate`` of modules/memory.wat writes, with 64 zero bytes after it."""
    sequence = bytearray(address)
    for _ in range(byte_length):
        seed = (seed * 1664525 + 1013904223) % 2**32
        sequence.append(seed >> 24)
    return bytes(sequence) + bytes(64)


def _mapping_count() -> int:
    return len(_MAPS.read_text().splitlines())
