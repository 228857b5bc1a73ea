"""Who ends late calls, and what the application's own code may do meanwhile."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from iree_wasm_hal.engine.contract import EngineInfo, Feature, MemoryModel
from iree_wasm_hal.errors import InterruptedCallError
from iree_wasm_hal.hal.call import THIS_THREAD, Call, inside
from iree_wasm_hal.hal.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

INFO = EngineInfo("some", "1", "", MemoryModel.IMPORTS, frozenset({Feature.INTERRUPT}))
PATIENCE_S = 20.0


@pytest.fixture
def watchdog() -> Iterator[Watchdog]:
    watchdog = Watchdog(INFO)
    yield watchdog
    watchdog.stop()


def is_ended(watchdog: Watchdog, timeout: float = 0.01) -> bool:
    """Whether work of a timed call is ended. On a thread of its own: it may wait for a lock."""
    ended, found = threading.Event(), list[bool]()
    watchdog.attach(ended.set)

    def work() -> None:
        THIS_THREAD.call = Call(timeout)
        watchdog.begin()
        found.append(ended.wait(PATIENCE_S))
        watchdog.end()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(2 * PATIENCE_S)
    return found == [True]


def add_late(watchdog: Watchdog, on_cancel: Callable[[BaseException], None]) -> None:
    call = Call(0.01)
    call.on_cancel = on_cancel
    watchdog.add(call)


def test_what_the_application_raises_ends_no_watch(
    watchdog: Watchdog, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported, raised = threading.Event(), list[Any]()

    def report(arguments: threading.ExceptHookArgs) -> None:
        raised.append(arguments.exc_value)
        reported.set()

    monkeypatch.setattr(threading, "excepthook", report)
    error = RuntimeError("of the application")

    def fail(_end: BaseException) -> None:
        raise error

    add_late(watchdog, fail)
    assert reported.wait(PATIENCE_S)
    assert raised == [error]
    assert is_ended(watchdog)


def test_what_the_application_calls_is_watched(watchdog: Watchdog) -> None:
    called, found = threading.Event(), list[bool]()

    def call_another(_end: BaseException) -> None:
        found.append(is_ended(watchdog))
        called.set()

    add_late(watchdog, call_another)
    assert called.wait(3 * PATIENCE_S)
    assert found == [True]


def test_the_application_may_close(watchdog: Watchdog) -> None:
    closed = threading.Event()

    def close(_end: BaseException) -> None:
        watchdog.close()
        closed.set()

    add_late(watchdog, close)
    assert closed.wait(PATIENCE_S)


def test_without_another_thread_it_goes_on(
    watchdog: Watchdog, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_ended(watchdog)  # its thread is there
    start = threading.Thread.start

    def start_some(thread: threading.Thread) -> None:
        if thread.name == "iree-wasm-late-call":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_some)
    closed = threading.Event()

    def close(_end: BaseException) -> None:
        watchdog.close()
        closed.set()

    add_late(watchdog, close)
    assert closed.wait(PATIENCE_S)


def test_a_cancel_between_two_pieces_of_work_ends_what_is_inside_too(watchdog: Watchdog) -> None:
    outer = Call()
    with inside(outer), inside(Call()):
        watchdog.begin()
        watchdog.end()
        outer.cancel()
        with pytest.raises(InterruptedCallError, match="the call was cancelled"):
            watchdog.begin()


def test_work_that_ctrl_c_kept_from_its_end_ends_no_other(watchdog: Watchdog) -> None:
    with inside(Call(60.0)):
        watchdog.begin()
    assert watchdog._due < math.inf
    watchdog.begin()  # without a time-out
    assert watchdog._due == math.inf


def interrupt_in_threading(use: Callable[[], object], countdown: int) -> bool:
    """Lets Ctrl-C come at the n-th step of Python code in `threading`; whether there is one."""

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal countdown
        if frame.f_code.co_filename != threading.__file__:
            return trace if event == "call" else None
        if event in ("line", "return"):
            countdown -= 1
            if countdown == 0:
                raise KeyboardInterrupt
        return trace

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        use()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(previous)
    return False


def test_ctrl_c_leaves_the_lock_free(watchdog: Watchdog) -> None:
    assert is_ended(watchdog)
    call = Call(60.0)

    def begin_and_end() -> None:
        THIS_THREAD.call = Call(50.0)
        try:
            watchdog.begin()
            watchdog.cancel(THIS_THREAD.call)
        finally:
            THIS_THREAD.call = None
            watchdog.end()

    uses = (lambda: watchdog.add(call), lambda: watchdog.discard(call), begin_and_end)
    for use in uses:
        countdown = 1
        while interrupt_in_threading(use, countdown):
            assert is_ended(watchdog), (use, countdown)
            countdown += 1


def test_ctrl_c_as_its_thread_starts_leaves_one_thread(
    watchdog: Watchdog, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, started = threading.Thread.start, list[threading.Thread]()

    def start_until_ctrl_c(thread: threading.Thread) -> None:
        start(thread)
        started.append(thread)
        if len(started) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", start_until_ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        watchdog.add(Call(50.0))
    monkeypatch.undo()
    assert is_ended(watchdog)
    started[0].join(PATIENCE_S)
    assert not started[0].is_alive()
    assert watchdog._thread is not None
    assert watchdog._thread.is_alive()


_AT_EXIT = """
import iree_wasm_hal as iwh
from iree_wasm_hal.hal import watchdog

class Last:
    def __init__(self):
        self.device = iwh.Device(iwh.open_engine("wasmtime"))

    def __del__(self, watchdog=watchdog):
        watchdog.os = None  # as the interpreter does at its exit
        print(self.device.is_closed)
        del self.device

last = Last()
"""


def test_devices_may_outlive_the_names_of_modules() -> None:
    command = [sys.executable, "-c", _AT_EXIT]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("False\n", "", 0)
