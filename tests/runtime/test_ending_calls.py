"""Time-outs and cancels: they end the call that they are meant for, and no other."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
import traceback
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from busy_modules import ENDLESS, F4, SCALAR, Background

import iree_wasm_hal as iwh
from iree_wasm_hal.hal.patient_lock import PatientLock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from busy_modules import Bench

_PROMPT_S = 10.0
"""Loose, for loaded machines: the bound is 0.1 s, and the measured figure about a millisecond."""


def check_usable(*modules: iwh.Module) -> None:
    for module in modules:
        np.testing.assert_array_equal(module.add(F4), F4 * 2)


def test_a_time_out_ends_a_kernel(interrupting: Bench) -> None:
    module = interrupting.load()
    for _ in range(5):
        start = time.monotonic()
        with pytest.raises(iwh.CallTimeoutError, match=r"timeout of 0\.05 s .*spin_dispatch"):
            module.spin(ENDLESS, timeout=0.05)
        assert 0.05 <= time.monotonic() - start < _PROMPT_S
        check_usable(module)
    with pytest.raises(TimeoutError):
        module.spin.call_raw(ENDLESS, timeout=0.01)
    check_usable(module)


def test_a_time_out_ends_the_host_program(interrupting: Bench) -> None:
    module = interrupting.load()
    with pytest.raises(iwh.CallTimeoutError):
        module.spin_on_host(-1, timeout=0.05)
    assert module.spin_on_host(1000, timeout=60) == 1000


def test_the_default_time_out_and_others(interrupting: Bench) -> None:
    module = interrupting.load(timeout=0.5)  # enough to start in, on a busy machine too
    with pytest.raises(iwh.CallTimeoutError, match=r"timeout of 0\.5 s"):
        module.spin(ENDLESS)
    with pytest.raises(iwh.CallTimeoutError, match=r"timeout of 0\.1 s"):
        module.spin(ENDLESS, timeout=0.1)
    running = interrupting.start_endless(module, timeout=math.inf)
    threading.Event().wait(0.6)
    assert running.is_running, "infinity is no limit, whatever the module's own is"
    module.cancel()
    assert type(running.join()) is iwh.InterruptedCallError


@pytest.mark.parametrize("timeout", [-1, -0.001, math.nan, -math.inf, "1"])
def test_what_is_no_time_is_refused(bench: Bench, timeout: Any) -> None:
    module = bench.load()
    for use in (
        lambda: module.add(F4, timeout=timeout),
        lambda: bench.load(timeout=timeout),
        lambda: bench.device(timeout=timeout),
    ):
        with pytest.raises(iwh.ArgumentError, match="timeout is"):
            use()


def test_a_call_without_time_does_nothing(interrupting: Bench) -> None:
    module = interrupting.load()
    before = module.statistics
    with pytest.raises(iwh.CallTimeoutError):
        module.add(F4, timeout=0)
    assert module.statistics.submissions == before.submissions


def test_engines_that_cannot_interrupt_refuse_before_anything_runs(stubborn: Bench) -> None:
    module = stubborn.load()
    before = module.statistics
    uses: list[Callable[[], object]] = [
        lambda: module.add(F4, timeout=60),
        lambda: module.add.call_raw(F4, timeout=60),
        lambda: module.add.aio(F4, timeout=60).send(None),
        lambda: stubborn.load(timeout=60),
        lambda: stubborn.device(timeout=60),
        lambda: stubborn.load(device=module.device, timeout=60),
        lambda: setattr(module.device, "timeout", 60),
    ]
    for use in uses:
        with pytest.raises(
            iwh.EngineError, match=r'timeout is 60, but .*cannot end.*isolation="process".*wasmtime'
        ):
            use()
    assert module.statistics == before


def test_others_on_the_device_go_on(interrupting: Bench) -> None:
    device = interrupting.device()
    endless, other = (interrupting.load(device=device) for _ in range(2))
    for end in ("timeout", "cancel"):
        running = interrupting.start_endless(
            endless, **({"timeout": 0.3} if end == "timeout" else {})
        )
        waiting = [Background(lambda: other.add(F4)) for _ in range(3)]
        for _ in range(20):
            other.cancel()  # none of its calls runs: those wait for the device
        if end == "cancel":
            assert running.is_running
            endless.cancel()
        expected = iwh.CallTimeoutError if end == "timeout" else iwh.InterruptedCallError
        assert type(running.join()) is expected
        results = [one.join() for one in waiting]
        # A call that waited for the device when it was cancelled was its module's running one.
        assert any(isinstance(result, np.ndarray) for result in results)
        for result in results:
            if not isinstance(result, iwh.InterruptedCallError):
                np.testing.assert_array_equal(result, F4 * 2)
        check_usable(endless, other)


def test_a_call_that_waits_for_its_turn_times_out(interrupting: Bench) -> None:
    device = interrupting.device()
    endless, other = (interrupting.load(device=device) for _ in range(2))
    running = interrupting.start_endless(endless)
    for call in (partial(other.add, F4, timeout=0.05), partial(endless.add, F4, timeout=0.05)):
        with pytest.raises(iwh.CallTimeoutError):
            call()
    assert running.is_running, "it has no time-out"
    endless.cancel()
    assert type(running.join()) is iwh.InterruptedCallError
    check_usable(endless, other)


def test_loading_waits_for_the_device_only_so_long(interrupting: Bench) -> None:
    device = interrupting.device()
    endless = interrupting.load(device=device)
    running = interrupting.start_endless(endless)
    with pytest.raises(iwh.CallTimeoutError):
        interrupting.load(device=device, timeout=0.1)
    assert running.is_running
    device.cancel()
    assert type(running.join()) is iwh.InterruptedCallError
    check_usable(endless, interrupting.load(device=device, timeout=30))


def test_compiling_is_not_counted(interrupting: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes as long as it takes, and is over sooner with a cache."""
    engine = interrupting.engine
    compile_ = engine.compile

    def compile_slowly(wasm: bytes) -> object:
        threading.Event().wait(0.5)
        return compile_(wasm)

    monkeypatch.setattr(engine, "compile", compile_slowly)
    start = time.monotonic()
    module = interrupting.load(timeout=0.4, cache=False)
    assert time.monotonic() - start > 0.5
    check_usable(module)


def test_cancel_of_the_host_program_on_every_engine(bench: Bench) -> None:
    module = bench.load()
    module.cancel()  # nothing runs
    check_usable(module)
    running = Background(lambda: module.spin_on_host(-1))
    while running.is_running:
        module.cancel()
        threading.Event().wait(0.001)
    assert type(running.join()) is iwh.InterruptedCallError
    check_usable(module)


def test_one_cancel_is_enough(interrupting: Bench) -> None:
    module = interrupting.load()
    for _ in range(20):
        running = interrupting.start_endless(module)
        start = time.monotonic()
        module.cancel()
        assert type(running.join()) is iwh.InterruptedCallError
        assert time.monotonic() - start < _PROMPT_S
    check_usable(module)


@pytest.mark.parametrize("same_device", [False, True])
def test_what_a_call_calls_ends_with_it(
    same_device: bool, interrupting: Bench, compile_wasm: Callable[..., Path]
) -> None:
    inner = interrupting.load()
    native = iwh.PyModule("host")

    @native.function("spin", "0i_i")
    def spin(value: int) -> int:
        inner.spin(ENDLESS)
        return value

    archive = compile_wasm(
        """
        func.func private @host.spin(%a: i32) -> i32
        func.func @outer(%a: i32) -> i32 {
          %0 = call @host.spin(%a) : (i32) -> i32
          return %0 : i32
        }
        """,
        SCALAR,
    )
    device = inner.device if same_device else interrupting.device()
    with iwh.load(archive, device=device, modules=[native]) as outer:
        with pytest.raises(iwh.CallTimeoutError, match=r"timeout of 0\.1 s"):
            outer.outer(1, timeout=0.1)
        for canceller in (outer, inner):
            running = Background(lambda: outer.outer(1))
            while running.is_running:
                canceller.cancel()
                threading.Event().wait(0.01)
            assert type(running.join()) is iwh.InterruptedCallError
    check_usable(inner)


def press_ctrl_c_during_a_wait(thread_id: int) -> None:
    """Once a thread waits for a lock: anywhere else it would be the test that Ctrl-C ends."""

    def waits() -> bool:
        frames = traceback.walk_stack(sys._current_frames()[thread_id])
        return any(frame.f_code is PatientLock.wait.__code__ for frame, _ in frames)

    while not waits():
        threading.Event().wait(0.001)
    signal.pthread_kill(thread_id, signal.SIGINT)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="a POSIX matter")
def test_ctrl_c_during_a_wait_leaves_the_locks_free(interrupting: Bench) -> None:
    device = interrupting.device()
    endless, other = (interrupting.load(device=device) for _ in range(2))
    main = threading.get_ident()
    for call in (partial(other.add, F4), partial(endless.add, F4)):
        running = interrupting.start_endless(endless)
        presser = threading.Thread(target=press_ctrl_c_during_a_wait, args=(main,))
        presser.start()
        with pytest.raises(KeyboardInterrupt):
            call()
        presser.join()
        assert running.is_running
        endless.cancel()
        assert type(running.join()) is iwh.InterruptedCallError
        results = [Background(partial(module.add, F4)).join() for module in (endless, other)]
        for result in results:
            np.testing.assert_array_equal(result, F4 * 2)
