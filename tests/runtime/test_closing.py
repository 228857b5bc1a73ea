"""Modules that are closed in the middle of a call, as by a signal handler of its thread."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from busy_modules import F4, Background

import iree_wasm_hal as iwh

if TYPE_CHECKING:
    from collections.abc import Callable

    from busy_modules import Bench

LONG_S = 20.0


def interrupt_kernels(
    module: iwh.Module, handler: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls a handler once, where a kernel has run: Python calls those of signals there."""
    handlers = [handler]
    for executable in [*module.device._executables]:
        (entry,) = executable.entries

        def interrupted(*arguments: int, execute: Any = entry.execute) -> int | None:
            result: int | None = execute(*arguments)
            while handlers:
                handlers.pop()()
            return result

        monkeypatch.setattr(entry, "execute", interrupted)


def test_another_module_whose_call_waits_for_this_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would wait for that call, which waits for the device, which waits for the handler."""
    device = bench.device()
    this, other = (bench.load(device=device) for _ in range(2))
    waiting: list[Background] = []

    def close_other() -> None:
        waiting.append(Background(partial(other.add, F4)))
        while other._caller.running is None:
            assert waiting[0].is_running, waiting[0].outcome
            threading.Event().wait(0.001)
        other.close()

    interrupt_kernels(this, close_other, monkeypatch)
    calling = Background(partial(this.add, F4))
    for result in (calling.join(), waiting[0].join()):
        np.testing.assert_array_equal(result, F4 * 2)
    with pytest.raises(iwh.ClosedError):
        other.add(F4)
    assert other._context._closed  # by its last call
    np.testing.assert_array_equal(this.add(F4), F4 * 2)


def test_an_idle_module_ends_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    device = bench.device()
    this, other = (bench.load(device=device) for _ in range(2))
    interrupt_kernels(this, other.close, monkeypatch)
    np.testing.assert_array_equal(this.add(F4), F4 * 2)
    assert other._context._closed


def test_the_module_itself_ends_after_its_call(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = bench.load()  # with a device of its own
    after: list[bool] = []

    def close() -> None:
        module.close()
        after.append(module.device.is_closed)

    interrupt_kernels(module, close, monkeypatch)
    np.testing.assert_array_equal(module.add(F4), F4 * 2)
    assert after == [False]
    assert module.device.is_closed
    with pytest.raises(iwh.ClosedError):
        module.add(F4)
    module.close()


def test_a_call_for_an_event_loop_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is closed while the call is handed to the thread, which then ends first."""
    module = bench.load()
    background = module._caller.background
    start = type(background)._start
    threads: list[threading.Thread] = []

    def close_and_start(self: Any) -> threading.Thread:
        self.close()
        threads.append(start(self))
        return threads[0]

    monkeypatch.setattr(type(background), "_start", close_and_start)

    async def call() -> None:
        with pytest.raises(iwh.ClosedError):
            await asyncio.wait_for(module.add.aio(F4), LONG_S)

    asyncio.run(call())
    threads[0].join(LONG_S)
    assert not threads[0].is_alive()
