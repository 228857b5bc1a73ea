"""Waiting, waking, interruption and stacks on several threads."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from wasmtime import wat2wasm

from iree_wasm_hal.engine import Instance, MemoryType, TrapKind, open_engine
from iree_wasm_hal.engine.conformance.background import run_in_thread, wait_for_byte
from iree_wasm_hal.engine.conformance.suite import load_module
from iree_wasm_hal.errors import InterruptedCallError, TrapError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iree_wasm_hal.engine import Engine, Memory

SHARED = MemoryType(1, 16, shared=True)
_WOKEN = 0

# Each of two threads in turn waits for its number and then writes the other's.
_PING_PONG = """(module (import "env" "memory" (memory 1 16 shared))
  (func (export "play") (param $mine i32) (param $others i32) (param $rounds i32)
    (loop $next
      (block $mine_now
        (loop $again
          (br_if $mine_now (i32.eq (i32.atomic.load (i32.const 64)) (local.get $mine)))
          (drop (memory.atomic.wait32 (i32.const 64) (local.get $others) (i64.const -1)))
          (br $again)))
      (i32.atomic.store (i32.const 64) (local.get $others))
      (drop (memory.atomic.notify (i32.const 64) (i32.const 1)))
      (br_if $next
        (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))))"""

_NOTIFY_TWICE = """(module (import "env" "memory" (memory 1 16 shared))
  (func (export "notify_twice") (param i32) (result i32)
    (i32.add (memory.atomic.notify (local.get 0) (i32.const 1))
             (memory.atomic.notify (local.get 0) (i32.const 1)))))"""


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = open_engine("wamr")
    yield engine
    engine.close()


def _text(engine: Engine, text: str, memory: Memory) -> Instance:
    return engine.instantiate(engine.compile(bytes(wat2wasm(text))), memory)


def test_two_threads_wake_each_other_many_times(engine: Engine) -> None:
    memory = engine.create_memory(SHARED)
    one, other = (_text(engine, _PING_PONG, memory).function("play") for _ in range(2))
    calls = [run_in_thread(partial(one, 0, 1, 500)), run_in_thread(partial(other, 1, 0, 500))]
    for call in calls:
        call.result()
    assert memory.view()[64] == 0


def test_each_notification_wakes_another_thread(engine: Engine) -> None:
    """A thread that was notified and has not run yet is not notified again."""
    memory = engine.create_memory(SHARED)
    program = engine.compile(load_module("shared"))
    notify_twice = _text(engine, _NOTIFY_TWICE, memory).function("notify_twice")
    for address in range(256, 256 + 20 * 4, 4):
        waits = [engine.instantiate(program, memory).function("wait32") for _ in range(2)]
        calls = [run_in_thread(partial(wait, address, 0, 20_000_000_000)) for wait in waits]
        woken = 0
        while not all(call.wait(0.001) for call in calls):
            woken += notify_twice(address) or 0
        assert [call.result() for call in calls] == [_WOKEN, _WOKEN]
        assert woken == 2


def test_interrupt_ends_a_wait(engine: Engine) -> None:
    """WAMR looks at the flag once a second."""
    memory = engine.create_memory(SHARED)
    instance = _text(
        engine,
        """(module (import "env" "memory" (memory 1 16 shared))
          (func (export "park")
            (i32.atomic.store (i32.const 0) (i32.const 1))
            (drop (memory.atomic.wait32 (i32.const 64) (i32.const 0) (i64.const -1)))))""",
        memory,
    )
    running = run_in_thread(instance.function("park"))
    wait_for_byte(memory.view(), 0, running)
    assert not running.wait(0.05)
    instance.interrupt()
    with pytest.raises(InterruptedCallError):
        running.result()


@pytest.mark.parametrize("stack_byte_length", [64 * 1024, 512 * 1024, 2 * 1024**2, 16 * 1024**2])
def test_recursion_traps_on_stacks_of_any_size(engine: Engine, stack_byte_length: int) -> None:
    """WAMR keeps the frames of wasm functions in memory of its own."""
    memory = engine.create_memory(MemoryType(1, 1))
    instance = engine.instantiate(engine.compile(load_module("traps")), memory)
    for _ in range(3):
        with pytest.raises(TrapError) as caught:
            run_in_thread(
                partial(instance.function("recurse"), 0), stack_byte_length=stack_byte_length
            ).result()
        assert caught.value.kind == TrapKind.STACK_EXHAUSTED
        assert len(caught.value.frames) == 32


def test_threads_may_close_what_runs(engine: Engine) -> None:
    memory = engine.create_memory(MemoryType(1, 1))
    instance = engine.instantiate(engine.compile(load_module("loops")), memory)
    spin = instance.function("spin")
    view = memory.view()
    running = run_in_thread(partial(spin, 0, 3_000_000))
    wait_for_byte(view, 0, running)
    memory.close()
    instance.close()
    engine.close()
    assert running.result() is not None


def test_program_is_instantiated_on_many_threads(engine: Engine) -> None:
    program = engine.compile(load_module("shared"))
    memory = engine.create_memory(SHARED)

    def use() -> None:
        for _ in range(50):
            instance = engine.instantiate(program, memory)
            instance.function("increment")(8, 10)
            instance.close()

    calls = [run_in_thread(use) for _ in range(4)]
    for call in calls:
        call.result()
    assert int.from_bytes(memory.view()[8:16], "little") == 4 * 50 * 10


def test_memory_grows_while_instances_come_and_go(engine: Engine) -> None:
    program = engine.compile(load_module("shared"))
    memory = engine.create_memory(MemoryType(1, 16, shared=True))
    seen = []

    def use() -> None:
        for _ in range(200):
            instance = engine.instantiate(program, memory)
            before = memory.page_count
            counted = instance.function("page_count")() or 0
            seen.append(before <= counted <= memory.page_count)
            instance.function("store32")(counted * 65536 - 4, 1)

    running = run_in_thread(use)
    for _ in range(15):
        memory.grow(1)
        running.wait(0.001)
    running.result()
    assert all(seen)
