"""Ending a running call from another thread."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from iree_wasm_hal.engine import Feature
from iree_wasm_hal.engine.conformance.background import TIMEOUT_S, run_in_thread, wait_for_byte
from iree_wasm_hal.engine.conformance.suite import SuiteBase, load_module, requires
from iree_wasm_hal.errors import ClosedError, EngineError, InterruptedCallError, TrapError

if TYPE_CHECKING:
    from collections.abc import Callable

    from iree_wasm_hal.engine import Engine, Instance, WasmFunction

_PROMPT_S = 10.0
"""Loose, for loaded machines: the bound is 0.1 s, and the measured figure below a millisecond."""
_ENDLESS_CALL_COUNT = 300
_SHORT_CALL_COUNT = 1000


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

    @requires(Feature.INTERRUPT)
    def test_memory_says_whether_growth_waits_for_a_call(self, engine: Engine) -> None:
        memory = self.small_memory(engine)
        instance = self.instantiate(engine, "loops", memory)
        running = run_in_thread(partial(instance.function("spin_forever"), 0))
        wait_for_byte(memory.view(), 0, running)
        growing = run_in_thread(partial(memory.grow, 1))
        if memory.growth_waits:
            assert not growing.wait(0.1)
        else:
            growing.result()
        assert not running.wait(0)
        instance.interrupt()
        with pytest.raises(InterruptedCallError):
            running.result()
        growing.result()
        assert memory.page_count == 2

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
    def test_interrupt_many_endless_calls(self, engine: Engine) -> None:
        """Each is interrupted once, and the call that follows it at once is not."""
        memory = self.small_memory(engine)
        instance = self.instantiate(engine, "loops", memory)
        spin_forever, spin = instance.function("spin_forever"), instance.function("spin")
        view, expected = memory.view(), spin(8, 100)
        may_start, ended = threading.Semaphore(0), threading.Semaphore(0)

        def call_many() -> int:
            interrupted = 0
            for _ in range(_ENDLESS_CALL_COUNT):
                may_start.acquire()
                try:
                    spin_forever(0)
                except InterruptedCallError:
                    interrupted += 1
                assert spin(8, 100) == expected
                ended.release()
            return interrupted

        running = run_in_thread(call_many)
        for _ in range(_ENDLESS_CALL_COUNT):
            view[0] = 0
            may_start.release()
            wait_for_byte(view, 0, running)
            instance.interrupt()
            assert ended.acquire(timeout=TIMEOUT_S)
        assert running.result() == _ENDLESS_CALL_COUNT

    @requires(Feature.INTERRUPT)
    def test_interrupt_hammered_from_another_thread(self, engine: Engine) -> None:
        """Each call either is right or was interrupted, and calls of others are all right."""
        memories = [self.small_memory(engine) for _ in range(2)]
        program = engine.compile(load_module("loops"))
        target, neighbour, bystander = (
            engine.instantiate(program, memory) for memory in (memories[0], *memories)
        )
        spin = target.function("spin")
        expected = spin(0, 300)
        stop = threading.Event()
        interrupting = run_in_thread(partial(_interrupt_until, stop, target))
        others = [
            run_in_thread(partial(_count_right, other.function("spin"), expected))
            for other in (neighbour, bystander)
        ]
        interrupted = 0
        for _ in range(_SHORT_CALL_COUNT):
            try:
                assert spin(0, 300) == expected
            except InterruptedCallError:
                interrupted += 1
        stop.set()
        interrupting.result()
        assert [other.result() for other in others] == [_SHORT_CALL_COUNT] * 2
        assert interrupted < _SHORT_CALL_COUNT
        assert spin(0, 300) == expected

    @requires(Feature.INTERRUPT)
    def test_interrupt_hammered_while_trapping(self, engine: Engine) -> None:
        """An interrupt that meets a trap on its way ends neither the process nor another call."""
        instance = self.instantiate(engine, "traps", self.small_memory(engine))
        functions: list[Callable[[], object]] = [
            partial(instance.function("load32"), 65536),
            partial(instance.function("divide"), 1, 0),
            instance.function("unreachable"),
            partial(instance.function("recurse"), 0),
        ]
        stop = threading.Event()
        interrupting = run_in_thread(partial(_interrupt_until, stop, instance))
        # Recursion to the end of the stack needs a stack of a known size.
        trapping = run_in_thread(partial(_count_traps, functions))
        traps = trapping.result()
        stop.set()
        interrupting.result()
        assert traps
        assert instance.function("call_indirect")(0) == 42

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


def _interrupt_until(stop: threading.Event, instance: Instance) -> None:
    while not stop.is_set():
        instance.interrupt()


def _count_right(function: WasmFunction, expected: int | None) -> int:
    return sum(function(0, 300) == expected for _ in range(_SHORT_CALL_COUNT))


def _count_traps(functions: list[Callable[[], object]]) -> int:
    """Calls them in turn; the number that trapped, where all others were interrupted."""
    traps = 0
    for index in range(_SHORT_CALL_COUNT):
        with pytest.raises((TrapError, InterruptedCallError)) as caught:
            functions[index % len(functions)]()
        traps += caught.type is TrapError
    return traps
