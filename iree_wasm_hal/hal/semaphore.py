"""HAL semaphores: timelines that only move forward, or fail for good.

Spec: runtime/src/iree/hal/semaphore.h.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from iree_wasm_hal.status import StatusCode, invocation_error

__all__ = ["Semaphore", "TimepointCallback"]

TimepointCallback = Callable[[BaseException | None], None]
"""Called once, with the failure or None, when a timepoint is reached or the semaphore fails."""

# One lock for all semaphores: it is held for a few bytecodes at a time, and a lock per semaphore
# would be most of a semaphore's cost. Re-entrant: a signal handler may cancel calls while its
# thread is in here. Handlers run after a call or a step of a loop, so what must not be torn apart
# has neither.
_lock = threading.RLock()


class _Runner(threading.local):
    """Callbacks that this thread has yet to run.

    A callback may signal the next semaphore of a long chain; queueing instead of calling keeps
    the stack flat.
    """

    def __init__(self) -> None:
        self.queue: deque[tuple[TimepointCallback, BaseException | None]] = deque()
        self.running = False

    def run(self, callbacks: list[tuple[TimepointCallback, BaseException | None]]) -> None:
        self.queue.extend(callbacks)
        if self.running:
            return
        self.running = True
        first_error: BaseException | None = None
        try:
            while self.queue:
                callback, argument = self.queue.popleft()
                try:
                    callback(argument)
                except BaseException as error:  # one callback's failure is not the others'
                    first_error = first_error or error
        finally:
            self.running = False
        if first_error is not None:
            raise first_error


_runner = _Runner()


class Semaphore:
    """A timeline semaphore. Thread-safe.

    Callbacks run on the thread that signals, in the order in which they were registered.
    """

    __slots__ = ("_callbacks", "_failure", "_payload")

    def __init__(self, initial_value: int = 0) -> None:
        self._payload = initial_value
        self._failure: BaseException | None = None
        self._callbacks: list[tuple[int, TimepointCallback]] | None = None

    @property
    def failure(self) -> BaseException | None:
        """The error it failed with, if it did."""
        return self._failure

    def query(self) -> int:
        """The current payload.

        Raises:
            Error: The semaphore failed: the error it failed with.
        """
        if self._failure is not None:
            raise self._failure
        return self._payload

    def has_reached(self, value: int) -> bool:
        """Whether the payload is at least ``value`` and the semaphore has not failed."""
        return self._payload >= value and self._failure is None

    def signal(self, value: int) -> None:
        """Moves the payload forward to ``value``; of a failed semaphore nothing changes.

        Raises:
            InvocationError: OUT_OF_RANGE, the payload is there or beyond already.
        """
        with _lock:
            if self._failure is not None:
                return
            if value <= self._payload:
                raise invocation_error(
                    StatusCode.OUT_OF_RANGE,
                    f"a semaphore at {self._payload} cannot be signalled to {value}; "
                    "timelines only move forward",
                )
            self._payload = value
            if self._callbacks is None:
                return
            due = self._take_due()
        _runner.run(due)

    def fail(self, error: BaseException) -> None:
        """Fails the semaphore for good; the first failure stays."""
        with _lock:
            if self._failure is not None:
                return
            self._failure = error
            if self._callbacks is None:
                return
            due = self._take_due()
        _runner.run(due)

    def on_reached(self, value: int, callback: TimepointCallback) -> None:
        """Calls back when ``value`` is reached or the semaphore fails; at once if so already."""
        with _lock:
            if self._failure is None and self._payload < value:
                if self._callbacks is None:
                    self._callbacks = []
                self._callbacks.append((value, callback))
                return
            failure = self._failure
        callback(failure)

    def wait(self, value: int, timeout: float | None = None) -> bool:
        """Blocks until the payload reaches ``value``.

        Args:
            value: Payload to wait for.
            timeout: Seconds to wait at most; None waits without end.

        Returns:
            False if the time ran out first.

        Raises:
            Error: The semaphore failed: the error it failed with.
        """
        if self._failure is not None:
            raise self._failure
        if self._payload >= value:
            return True
        reached = threading.Event()

        def callback(_failure: BaseException | None) -> None:
            reached.set()

        self.on_reached(value, callback)
        if not reached.wait(None if timeout is None else min(timeout, threading.TIMEOUT_MAX)):
            self._forget(value, callback)
            return False
        if self._failure is not None:
            raise self._failure
        return True

    def _take_due(self) -> list[tuple[TimepointCallback, BaseException | None]]:
        """Takes out the callbacks whose time has come, with what they are told. Under the lock."""
        due: list[tuple[TimepointCallback, BaseException | None]] = []
        while True:
            callbacks, self._callbacks = self._callbacks, None
            payload, failure = self._payload, self._failure
            later = []
            for entry in callbacks or ():
                if failure is not None or entry[0] <= payload:
                    due.append((entry[1], failure))
                else:
                    later.append(entry)
            if later:
                self._callbacks = later if self._callbacks is None else later + self._callbacks
            # A signal handler did not see those that were out.
            if payload == self._payload and failure is self._failure:
                return due

    def _forget(self, value: int, callback: TimepointCallback) -> None:
        with _lock:
            callbacks = self._callbacks
            if callbacks is not None and (value, callback) in callbacks:
                callbacks.remove((value, callback))
