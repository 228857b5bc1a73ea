"""Calls that need a larger memory while another call's kernel runs on it."""

from __future__ import annotations

import signal
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from busy_modules import F4, Background

import iree_wasm_hal as iwh

if TYPE_CHECKING:
    import pytest
    from busy_modules import Bench


def fill(device: iwh.Device) -> list[object]:
    """Takes all memory that there is; whatever is allocated next needs more."""
    taken: list[object] = []
    while device.memory.largest_free_block:
        taken.append(device.allocator.allocate_buffer(device.memory.largest_free_block))
    return taken


def growth_waits(device: iwh.Device) -> bool:
    return device._memory.memory.growth_waits


def test_a_call_that_must_grow_the_memory_times_out(interrupting: Bench) -> None:
    device = interrupting.device()
    endless, other = (interrupting.load(device=device) for _ in range(2))
    running = interrupting.start_endless(endless)
    taken = fill(device)
    growths = device.memory.growths
    waiting = Background(lambda: other.add(F4, timeout=0.2))
    outcome = waiting.join()
    assert type(outcome) is iwh.CallTimeoutError, outcome
    assert running.is_running
    # Where the memory need not wait it has grown, and the call waited for the device.
    assert device.memory.growths - growths == (0 if growth_waits(device) else 1)
    endless.cancel()
    assert type(running.join()) is iwh.InterruptedCallError
    for module in (other, endless):
        np.testing.assert_array_equal(module.add(F4), F4 * 2)
    assert device.memory.growths == growths + 1
    assert taken


def test_a_call_that_must_grow_the_memory_is_cancelled_or_goes_on(interrupting: Bench) -> None:
    device = interrupting.device()
    endless, cancelled, patient = (interrupting.load(device=device) for _ in range(3))
    running = interrupting.start_endless(endless)
    taken = fill(device)
    calls = [Background(partial(module.add, F4)) for module in (cancelled, patient)]
    while calls[0].is_running:
        cancelled.cancel()  # until its call has begun
        threading.Event().wait(0.001)
    assert type(calls[0].join()) is iwh.InterruptedCallError
    assert calls[1].is_running
    assert running.is_running
    endless.cancel()
    assert type(running.join()) is iwh.InterruptedCallError
    np.testing.assert_array_equal(calls[1].join(), F4 * 2)
    np.testing.assert_array_equal(cancelled.add(F4), F4 * 2)
    assert taken


def test_a_signal_handler_does_not_wait_for_the_call_that_it_interrupted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes where the kernel has returned and the engine's locks may still be held."""
    module = bench.load()
    device, outcomes = module.device, list[object]()
    np.testing.assert_array_equal(module.add(F4), F4 * 2)

    def allocate_more(*_: object) -> None:
        try:
            byte_length = device.memory.largest_free_block + 1
            outcomes.append(device.allocator.allocate_buffer(byte_length))
        except iwh.InvocationError as error:
            outcomes.append(error)

    for executable in [*device._executables]:
        (entry,) = executable.entries

        def interrupted(*arguments: int, execute: Any = entry.execute) -> int | None:
            result: int | None = execute(*arguments)
            signal.raise_signal(signal.SIGINT)
            return result

        monkeypatch.setattr(entry, "execute", interrupted)
    previous = signal.signal(signal.SIGINT, allocate_more)
    try:
        np.testing.assert_array_equal(module.add(F4), F4 * 2)
    finally:
        signal.signal(signal.SIGINT, previous)
    (outcome,) = outcomes
    if growth_waits(device):
        assert isinstance(outcome, iwh.InvocationError)
        assert "a signal handler must leave the device alone" in str(outcome)
    else:
        assert outcome is not None
        assert not isinstance(outcome, BaseException)
