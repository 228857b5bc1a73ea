"""Several threads on one shared memory."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest

from iree_wasm_hal.engine import Feature, TrapKind
from iree_wasm_hal.engine.conformance.background import run_in_thread
from iree_wasm_hal.engine.conformance.suite import SuiteBase, load_module, requires
from iree_wasm_hal.errors import EngineError, TrapError

if TYPE_CHECKING:
    from iree_wasm_hal.engine import Engine

_WOKEN, _NOT_EQUAL, _TIMED_OUT = 0, 1, 2  # results of memory.atomic.wait32


class ThreadTests(SuiteBase):
    """Shared memories, atomics and instances on several threads."""

    @requires(Feature.SHARED_MEMORY, Feature.ATOMICS, Feature.THREADS)
    def test_threads_increment_one_counter(self, engine: Engine) -> None:
        memory = self.small_memory(engine, shared=True)
        program = engine.compile(load_module("shared"))
        functions = [engine.instantiate(program, memory).function("increment") for _ in range(2)]
        calls = [run_in_thread(partial(function, 8, 200_000)) for function in functions]
        for call in calls:
            call.result()
        assert np.frombuffer(memory.view(), np.int64)[1] == 400_000

    @requires(Feature.SHARED_MEMORY, Feature.ATOMICS)
    def test_threads_see_the_host(self, engine: Engine) -> None:
        memory = self.small_memory(engine, shared=True)
        instance = self.instantiate(engine, "shared", memory)
        memory.view()[4:8] = (7).to_bytes(4, "little")
        assert instance.function("load32")(4) == 7
        assert instance.function("compare_exchange")(4, 7, 9) == 7
        assert instance.function("compare_exchange")(4, 7, 11) == 9
        assert bytes(memory.view()[4:8]) == (9).to_bytes(4, "little")

    @requires(Feature.SHARED_MEMORY, Feature.ATOMICS)
    def test_threads_see_growth(self, engine: Engine) -> None:
        memory = self.small_memory(engine, shared=True)
        one, other = (self.instantiate(engine, "shared", memory) for _ in range(2))
        memory.grow(3)
        assert one.function("page_count")() == other.function("page_count")() == 4
        one.function("store32")(4 * 65536 - 4, 3)
        assert other.function("load32")(4 * 65536 - 4) == 3

    @requires(Feature.SHARED_MEMORY, Feature.ATOMICS)
    def test_threads_grow_during_a_call(self, engine: Engine) -> None:
        memory = self.small_memory(engine, shared=True)
        instance = self.instantiate(engine, "shared", memory)
        wait32 = instance.function("wait32")
        running = run_in_thread(partial(wait32, 64, 0, 200_000_000))
        memory.grow(1)
        assert memory.page_count == 2
        assert running.result() == _TIMED_OUT

    @requires(Feature.SHARED_MEMORY, Feature.ATOMICS)
    def test_wait_times_out(self, engine: Engine) -> None:
        memory = self.small_memory(engine, shared=True)
        instance = self.instantiate(engine, "shared", memory)
        started = time.monotonic()
        assert instance.function("wait32")(128, 0, 30_000_000) == _TIMED_OUT
        assert time.monotonic() - started >= 0.03
        assert instance.function("wait32")(128, 1, -1) == _NOT_EQUAL

    @requires(Feature.SHARED_MEMORY, Feature.ATOMICS, Feature.THREADS)
    def test_wait_is_notified(self, engine: Engine) -> None:
        memory = self.small_memory(engine, shared=True)
        waiter, waker = (self.instantiate(engine, "shared", memory) for _ in range(2))
        wait32, notify = waiter.function("wait32"), waker.function("notify")
        running = run_in_thread(partial(wait32, 256, 0, 30_000_000_000))
        woken = 0
        while not woken and not running.wait(0.001):
            count = notify(256, 1)
            assert count is not None
            woken += count
        assert running.result() == _WOKEN
        assert woken == 1

    @requires(Feature.SHARED_MEMORY, Feature.ATOMICS)
    def test_atomics_must_be_aligned(self, engine: Engine) -> None:
        instance = self.instantiate(engine, "shared", self.small_memory(engine, shared=True))
        with pytest.raises(TrapError) as caught:
            instance.function("load64")(4)
        assert caught.value.kind == TrapKind.UNALIGNED_ATOMIC

    @requires(Feature.SHARED_MEMORY)
    def test_shared_and_unshared_do_not_mix(self, engine: Engine) -> None:
        shared, unshared = self.small_memory(engine, shared=True), self.small_memory(engine)
        with pytest.raises(EngineError):
            self.instantiate(engine, "shared", unshared)
        with pytest.raises(EngineError):
            self.instantiate(engine, "memory", shared)

    @requires(Feature.SHARED_MEMORY, Feature.THREADS)
    def test_threads_trap_alone(self, engine: Engine) -> None:
        memory = self.small_memory(engine, shared=True)
        good, bad = (self.instantiate(engine, "shared", memory) for _ in range(2))
        increment, load64 = good.function("increment"), bad.function("load64")
        running = run_in_thread(partial(increment, 8, 300_000))
        for _ in range(100):
            with pytest.raises(TrapError):
                load64(65536)
        running.result()
        assert np.frombuffer(memory.view(), np.int64)[1] == 300_000

    def test_threads_on_memories_of_their_own(self, engine: Engine) -> None:
        program = engine.compile(load_module("memory"))
        memories = [self.small_memory(engine) for _ in range(4)]
        functions = [
            engine.instantiate(program, memory).function("generate") for memory in memories
        ]
        calls = [run_in_thread(partial(function, 0, 65536, 1)) for function in functions]
        for call in calls:
            call.result()
        assert len({bytes(memory.view()) for memory in memories}) == 1
