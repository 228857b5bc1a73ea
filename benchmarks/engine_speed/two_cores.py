"""What the machine itself gives two threads, now."""

from __future__ import annotations

import contextlib
import hashlib
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from wasmtime import wat2wasm

from iree_wasm_hal.engine import MemoryType

if TYPE_CHECKING:
    from iree_wasm_hal.engine import Engine, Instance, Memory

__all__ = ["AtOnce", "Call", "crossing_s", "hash_much", "waking_s"]

Call = Callable[[], object]

_HASHED = bytes(8 << 20)
_CROSSINGS = 200_000
_WAKINGS = 50
_ASLEEP_S = 0.005
_TURNS = """
(module (import "env" "memory" (memory 1 1 shared))
  (func (export "take_turns") (param $turn i32) (param $last i32)
    (loop $next
      (loop $wait
        (br_if $wait (i32.ne (i32.atomic.load (i32.const 1024)) (local.get $turn))))
      (i32.atomic.store (i32.const 1024) (i32.add (local.get $turn) (i32.const 1)))
      (local.set $turn (i32.add (local.get $turn) (i32.const 2)))
      (br_if $next (i32.lt_u (local.get $turn) (local.get $last)))))
  (func (export "sleep") (param $number i32)
    (loop $again
      (drop (memory.atomic.wait32 (i32.const 2048) (local.get $number) (i64.const -1)))
      (br_if $again (i32.eq (i32.atomic.load (i32.const 2048)) (local.get $number))))
    (i32.atomic.store (i32.const 3072) (i32.add (local.get $number) (i32.const 1))))
  (func (export "wake") (param $number i32)
    (i32.atomic.store (i32.const 2048) (local.get $number))
    (drop (memory.atomic.notify (i32.const 2048) (i32.const 1)))
    (loop $again
      (br_if $again (i32.ne (i32.atomic.load (i32.const 3072)) (local.get $number))))))
"""
"""Of two threads, each waits for its turn and gives the other one the next; or one wakes the other
and waits until it says that it is awake."""


class AtOnce:
    """A call several times, in one thread and in two at once."""

    def __init__(self, calls: tuple[Call, Call], repeats: int) -> None:
        self._calls = calls
        self._repeats = repeats
        self._threads = ThreadPoolExecutor(2)

    def one(self) -> None:
        self._threads.submit(self._repeat, self._calls[0]).result()

    def two(self) -> None:
        for future in [self._threads.submit(self._repeat, call) for call in self._calls]:
            future.result()

    def close(self) -> None:
        self._threads.shutdown()

    def _repeat(self, call: Call) -> None:
        for _ in range(self._repeats):
            call()


def hash_much() -> None:
    """Native code that shares nothing; it runs without the GIL."""
    hashlib.sha256(_HASHED).digest()


def crossing_s(engine: Engine) -> float:
    """Seconds in which what one core writes reaches the other one, both being awake."""
    with _two_instances(engine) as (memory, instances), ThreadPoolExecutor(2) as threads:
        start = time.perf_counter()
        for index, instance in enumerate(instances):
            threads.submit(instance.function("take_turns"), index, _CROSSINGS)
        threads.shutdown()
        taken = time.perf_counter() - start
        if int(np.frombuffer(memory.view(), np.uint32)[256]) != _CROSSINGS:
            raise AssertionError("a thread missed its turn")
    return taken / _CROSSINGS


def waking_s(engine: Engine) -> float:
    """Seconds in which a thread wakes that sleeps in ``memory.atomic.wait32``, as a median."""
    samples = []
    with _two_instances(engine) as (_, (sleeper, waker)), ThreadPoolExecutor(1) as threads:
        sleep, wake = sleeper.function("sleep"), waker.function("wake")
        for number in range(_WAKINGS):
            woken = threads.submit(sleep, number)
            time.sleep(_ASLEEP_S)  # what is measured is the waking of one that sleeps
            start = time.perf_counter()
            wake(number + 1)
            samples.append(time.perf_counter() - start)
            woken.result()
    return statistics.median(samples)


@contextlib.contextmanager
def _two_instances(engine: Engine) -> Iterator[tuple[Memory, list[Instance]]]:
    memory = engine.create_memory(MemoryType(1, 1, shared=True))
    program = engine.compile(bytes(wat2wasm(_TURNS)))
    instances = [engine.instantiate(program, memory) for _ in range(2)]
    try:
        yield memory, instances
    finally:
        for instance in instances:
            instance.close()
        memory.close()
