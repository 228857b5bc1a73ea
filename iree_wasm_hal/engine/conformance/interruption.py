"""Ending a running call from another thread."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from iree_wasm_hal.engine import Feature
from iree_wasm_hal.engine.conformance.background import run_in_thread, wait_for_byte
from iree_wasm_hal.engine.conformance.suite import SuiteBase, requires
from iree_wasm_hal.errors import ClosedError, EngineError, InterruptedCallError

if TYPE_CHECKING:
    from iree_wasm_hal.engine import Engine

_PROMPT_S = 5.0  # loose, for loaded machines: the measured figure is below a millisecond


class InterruptionTests(SuiteBase):
    """``Instance.interrupt``."""

    @requires(Feature.INTERRUPT)
    def test_interrupt_ends_an_endless_loop(self, engine: Engine) -> None:
        memory = self.small_memory(engine)
        instance = self.instantiate(engine, "loops", memory)
        spin_forever = instance.function("spin_forever")
        for _ in range(5):
            memory.view()[0] = 0
            running = run_in_thread(partial(spin_forever, 0))
            wait_for_byte(memory.view(), 0, running)
            asked = time.monotonic()
            instance.interrupt()
            with pytest.raises(InterruptedCallError):
                running.result()
            assert time.monotonic() - asked < _PROMPT_S
        assert instance.function("spin")(0, 1) is not None

    @requires(Feature.INTERRUPT)
    def test_interrupt_outside_a_call_is_a_no_op(self, engine: Engine) -> None:
        instance = self.instantiate(engine, "loops", self.small_memory(engine))
        spin = instance.function("spin")
        for _ in range(20):
            instance.interrupt()
            assert spin(0, 1000) == spin(0, 1000)
            instance.interrupt()

    @requires(Feature.INTERRUPT)
    def test_interrupt_ends_no_other_instance(self, engine: Engine) -> None:
        memories = [self.small_memory(engine) for _ in range(2)]
        one, other = (self.instantiate(engine, "loops", memory) for memory in memories)
        calls = [
            run_in_thread(partial(instance.function("spin_forever"), 0))
            for instance in (one, other)
        ]
        for memory, call in zip(memories, calls, strict=True):
            wait_for_byte(memory.view(), 0, call)
        one.interrupt()
        with pytest.raises(InterruptedCallError):
            calls[0].result()
        for _ in range(20):
            one.interrupt()
        assert not calls[1].wait(0.1)
        other.interrupt()
        with pytest.raises(InterruptedCallError):
            calls[1].result()

    @requires(Feature.INTERRUPT)
    def test_interrupt_of_a_neighbour_on_the_same_memory(self, engine: Engine) -> None:
        memory = self.small_memory(engine)
        looping = self.instantiate(engine, "loops", memory)
        idle = self.instantiate(engine, "loops", memory)
        spin_forever = looping.function("spin_forever")
        running = run_in_thread(partial(spin_forever, 0))
        wait_for_byte(memory.view(), 0, running)
        idle.interrupt()
        assert not running.wait(0.1)
        looping.interrupt()
        with pytest.raises(InterruptedCallError):
            running.result()

    @requires(Feature.INTERRUPT, Feature.SHARED_MEMORY, Feature.THREADS)
    def test_interrupt_on_a_shared_memory(self, engine: Engine) -> None:
        memory = self.small_memory(engine, shared=True)
        one, other = (self.instantiate(engine, "shared", memory) for _ in range(2))
        loops = [one.function("spin_forever"), other.function("spin_forever")]
        first = run_in_thread(partial(loops[0], 0))
        second = run_in_thread(partial(loops[1], 4))
        wait_for_byte(memory.view(), 0, first)
        wait_for_byte(memory.view(), 4, second)
        one.interrupt()
        with pytest.raises(InterruptedCallError):
            first.result()
        assert not second.wait(0.05)
        other.interrupt()
        with pytest.raises(InterruptedCallError):
            second.result()

    @requires(Feature.INTERRUPT)
    def test_interrupt_after_close(self, engine: Engine) -> None:
        instance = self.instantiate(engine, "loops", self.small_memory(engine))
        instance.close()
        with pytest.raises(ClosedError):
            instance.interrupt()

    def test_interrupt_unsupported_is_an_error(self, engine: Engine) -> None:
        instance = self.instantiate(engine, "loops", self.small_memory(engine))
        if Feature.INTERRUPT in engine.info.features:
            instance.interrupt()
        else:
            with pytest.raises(EngineError):
                instance.interrupt()
