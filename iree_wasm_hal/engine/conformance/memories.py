"""Linear memories: size, growth, limits, views and lifetime."""

from __future__ import annotations

import ctypes
import gc
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest

from iree_wasm_hal.engine import PAGE_SIZE, Feature, MemoryType
from iree_wasm_hal.engine.conformance.background import run_in_thread
from iree_wasm_hal.engine.conformance.suite import (
    SMALL_MEMORY,
    SMALL_SHARED_MEMORY,
    SuiteBase,
    requires,
)
from iree_wasm_hal.errors import ClosedError, EngineError, LimitError, TrapError

if TYPE_CHECKING:
    from iree_wasm_hal.engine import Engine, Memory

_LARGE = 81920
"""Pages of the largest memory of modules/memory64_large.wat: 5 GiB."""


def _address(memory: Memory) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory.view()))


class MemoryTests(SuiteBase):
    """``Engine.create_memory`` and ``Memory``."""

    @pytest.fixture(params=[SMALL_MEMORY, SMALL_SHARED_MEMORY], ids=["unshared", "shared"])
    def memory_type(self, request: pytest.FixtureRequest, engine: Engine) -> MemoryType:
        """Both kinds of memory, as far as the engine has them."""
        memory_type: MemoryType = request.param
        if memory_type.shared and Feature.SHARED_MEMORY.value in self.unsupported:
            pytest.skip(self.unsupported[Feature.SHARED_MEMORY.value])
        return memory_type

    def test_memory_type_and_size(self, engine: Engine, memory_type: MemoryType) -> None:
        memory = engine.create_memory(memory_type)
        assert memory.type == memory_type
        assert memory.page_count == 1
        assert memory.view().nbytes == PAGE_SIZE

    def test_memory_is_zeroed(self, engine: Engine, memory_type: MemoryType) -> None:
        memory = engine.create_memory(memory_type)
        memory.grow(3)
        assert not np.frombuffer(memory.view(), np.uint8).any()

    def test_memory_view_format(self, engine: Engine, memory_type: MemoryType) -> None:
        view = engine.create_memory(memory_type).view()
        assert isinstance(view, memoryview)
        assert (view.format, view.itemsize, view.ndim) == ("B", 1, 1)
        assert not view.readonly
        assert view.contiguous

    def test_memory_views_are_zero_copy(self, engine: Engine, memory_type: MemoryType) -> None:
        memory = engine.create_memory(memory_type)
        one, other = memory.view(), memory.view()
        one[100] = 17
        assert other[100] == 17
        np.frombuffer(other, np.uint8)[101] = 18
        assert one[101] == 18

    def test_memory_grows_in_place(self, engine: Engine, memory_type: MemoryType) -> None:
        memory = engine.create_memory(memory_type)
        memory.view()[7] = 42
        address = _address(memory)
        memory.grow(0)
        memory.grow(4)
        memory.grow(11)
        assert memory.page_count == 16
        assert memory.view().nbytes == 16 * PAGE_SIZE
        assert _address(memory) == address
        assert memory.view()[7] == 42
        memory.view()[16 * PAGE_SIZE - 1] = 1

    def test_memory_respects_maximum(self, engine: Engine, memory_type: MemoryType) -> None:
        memory = engine.create_memory(memory_type)
        for delta in (16, 65536, 2**31, 2**63):
            with pytest.raises(LimitError) as caught:
                memory.grow(delta)
            assert caught.value.asked == (1 + delta) * PAGE_SIZE
            assert caught.value.allowed == 16 * PAGE_SIZE
        assert memory.page_count == 1
        memory.grow(15)
        with pytest.raises(LimitError):
            memory.grow(1)
        with pytest.raises(EngineError):
            memory.grow(-1)
        assert memory.page_count == 16

    def test_memory_grows_on_several_threads(self, engine: Engine) -> None:
        memory = engine.create_memory(MemoryType(1, 16))
        spin = self.instantiate(engine, "loops", memory).function("spin")
        # Growth may wait for the call, and then both threads go on at once.
        call = run_in_thread(partial(spin, 0, self.lasting_call_iterations))
        growths = [run_in_thread(partial(memory.grow, 10)) for _ in range(2)]
        call.result()
        refused = 0
        for growth in growths:
            try:
                growth.result()
            except LimitError:
                refused += 1
        assert (refused, memory.page_count) == (1, 11)

    def test_memory_old_view_survives_growth(self, engine: Engine, memory_type: MemoryType) -> None:
        memory = engine.create_memory(memory_type)
        old = memory.view()
        memory.grow(1)
        old[5] = 9
        assert old.nbytes == PAGE_SIZE
        assert memory.view()[5] == 9

    def test_memory_view_outlives_memory(self, engine: Engine, memory_type: MemoryType) -> None:
        memory = engine.create_memory(memory_type)
        array = np.frombuffer(memory.view(), np.int32)
        array[:] = 7
        memory.close()
        del memory
        engine.close()
        gc.collect()
        # A freed region would be handed to the next memory.
        others = [self.small_memory(self.open_engine()) for _ in range(4)]
        assert int(array.sum()) == 7 * array.size
        del others

    def test_memory_use_after_close(self, engine: Engine, memory_type: MemoryType) -> None:
        program = engine.compile(b"\0asm\1\0\0\0")
        memory = engine.create_memory(memory_type)
        memory.close()
        memory.close()
        with pytest.raises(ClosedError):
            memory.view()
        with pytest.raises(ClosedError):
            memory.grow(1)
        with pytest.raises(ClosedError):
            _ = memory.page_count
        with pytest.raises(ClosedError):
            engine.instantiate(program, memory)

    def test_memories_are_independent(self, engine: Engine, memory_type: MemoryType) -> None:
        one, other = engine.create_memory(memory_type), engine.create_memory(memory_type)
        np.frombuffer(one.view(), np.uint8)[:] = 255
        one.grow(3)
        assert other.page_count == 1
        assert not np.frombuffer(other.view(), np.uint8).any()

    @pytest.mark.parametrize(
        "memory_type",
        [MemoryType(2, 1), MemoryType(-1, 1), MemoryType(1, 65537)],
        ids=["min_above_max", "negative", "above_4_gib"],
    )
    def test_memory_type_must_be_valid(self, engine: Engine, memory_type: MemoryType) -> None:
        with pytest.raises(EngineError):
            engine.create_memory(memory_type)

    def test_memory_of_maximal_type(self, engine: Engine) -> None:
        memory = engine.create_memory(MemoryType(1, 65536))
        memory.grow(1023)
        memory.view()[64 * 1024**2 - 1] = 1

    @requires(Feature.MEMORY64)
    def test_memory_above_4_gib(self, engine: Engine) -> None:
        self._use_above_4_gib(engine, shared=False)

    @requires(Feature.MEMORY64, Feature.SHARED_MEMORY, Feature.ATOMICS)
    def test_shared_memory_above_4_gib(self, engine: Engine) -> None:
        self._use_above_4_gib(engine, shared=True)

    def _use_above_4_gib(self, engine: Engine, *, shared: bool) -> None:
        """Reaches bytes here and there in 5 GiB, of which nothing else is ever touched."""
        name = "memory64_large_shared" if shared else "memory64_large"
        memory = engine.create_memory(MemoryType(1, _LARGE, shared=shared, index64=True))
        early = self.instantiate(engine, name, memory)
        memory.grow(_LARGE - 1)
        end = _LARGE * PAGE_SIZE
        view = memory.view()
        assert (memory.page_count, view.nbytes) == (_LARGE, end)
        for number, instance in enumerate([early, self.instantiate(engine, name, memory)]):
            assert instance.function("page_count")() == _LARGE
            load, store = instance.function("load32"), instance.function("store32")
            for address in (0, 2**31, 2**32 - 2, 2**32, end - 4):
                store(address, address % 1_000_003 + number)
                assert load(address) == address % 1_000_003 + number
                got = int.from_bytes(view[address : address + 4], "little")
                assert got == address % 1_000_003 + number
            instance.function("fill")(2**32 + 5, 7, 3)
            assert bytes(view[2**32 + 4 : 2**32 + 9]) == bytes([0, 7, 7, 7, 0])
            view[2**32 + 5 : 2**32 + 8] = bytes(3)
            store(2**32, 0)
            for address in (end - 3, end, 2**40, 2**64 - 4):
                with pytest.raises(TrapError):
                    load(address)

    @requires(Feature.MEMORY64)
    def test_memory_beyond_the_machine(self, engine: Engine) -> None:
        with pytest.raises(LimitError):
            engine.create_memory(MemoryType(2**36, 2**36, index64=True))

    def test_unsupported_memory_types_are_refused(self, engine: Engine) -> None:
        types = {
            Feature.SHARED_MEMORY: MemoryType(1, 1, shared=True),
            Feature.MEMORY64: MemoryType(1, 1, index64=True),
        }
        for feature, memory_type in types.items():
            if feature in engine.info.features:
                engine.create_memory(memory_type).close()
            else:
                with pytest.raises(EngineError):
                    engine.create_memory(memory_type)
