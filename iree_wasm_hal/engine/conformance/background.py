"""Threads for the tests: large stacks, time-outs, exceptions handed over."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

from iree_wasm_hal.engine.thread_stacks import thread_stacks

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")

STACK_BYTE_LENGTH = 4 * 1024**2
TIMEOUT_S = 60.0


class Running(Generic[_T]):
    """A function that runs in a thread of its own."""

    def __init__(self, function: Callable[[], _T], stack_byte_length: int) -> None:
        self._function = function
        self._outcome: list[_T] = []
        self._error: list[BaseException] = []
        self._finished = threading.Event()
        self.elapsed_s = 0.0
        with thread_stacks(stack_byte_length):
            # A daemon, so that a call that cannot be ended fails one test and not the process.
            threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        started = time.perf_counter()
        try:
            self._outcome.append(self._function())
        except BaseException as error:  # handed to result(), in the test's thread
            self._error.append(error)
        self.elapsed_s = time.perf_counter() - started
        self._finished.set()

    def wait(self, timeout_s: float) -> bool:
        """Waits; whether it has finished."""
        return self._finished.wait(timeout_s)

    def result(self) -> _T:
        """Waits for the function's result, or raises what it raised.

        Raises:
            TimeoutError: It has not ended after a minute.
        """
        if not self.wait(TIMEOUT_S):
            msg = f"not finished after {TIMEOUT_S:.0f} s"
            raise TimeoutError(msg)
        if self._error:
            raise self._error[0]
        return self._outcome[0]


def run_in_thread(
    function: Callable[[], _T], *, stack_byte_length: int = STACK_BYTE_LENGTH
) -> Running[_T]:
    """Starts a function in a thread whose native stack suits every engine."""
    return Running(function, stack_byte_length)


def wait_for_byte(view: memoryview, byte_offset: int, running: Running[_T]) -> None:
    """Waits until wasm has set a byte, which shows that it is running.

    Raises:
        AssertionError: The call ended first.
    """
    deadline = time.monotonic() + TIMEOUT_S
    while view[byte_offset] == 0:
        assert not running.wait(0.0005), "the call ended before it was seen to run"
        assert time.monotonic() < deadline, "the call did not start"
