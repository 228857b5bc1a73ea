"""HAL fences: sets of timepoints that are reached together.

Spec: runtime/src/iree/hal/fence.h.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from iree_wasm_hal.hal.semaphore import Semaphore, TimepointCallback
from iree_wasm_hal.status import StatusCode, status_of

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Fence"]


class Fence:
    """Reached when every one of its timepoints is; failed as soon as one fails. Thread-safe.

    Args:
        timepoints: Pairs of a semaphore and the payload to reach; by default a fresh semaphore
            at payload 1, so that ``signal`` reaches the fence.
    """

    __slots__ = ("timepoints",)

    def __init__(self, timepoints: Iterable[tuple[Semaphore, int]] | None = None) -> None:
        self.timepoints: tuple[tuple[Semaphore, int], ...] = (
            ((Semaphore(), 1),) if timepoints is None else tuple(timepoints)
        )

    def __repr__(self) -> str:
        return f"<hal.fence {StatusCode(self.query()).name}>"

    @staticmethod
    def join(fences: Iterable[Fence | None]) -> Fence | None:
        """A fence over all timepoints of ``fences``; None, which is reached, if there are none."""
        latest: dict[int, tuple[Semaphore, int]] = {}
        for fence in fences:
            if fence is None:
                continue
            for semaphore, value in fence.timepoints:
                known = latest.get(id(semaphore))
                if known is None or known[1] < value:
                    latest[id(semaphore)] = (semaphore, value)
        return Fence(latest.values()) if latest else None

    @property
    def is_reached(self) -> bool:
        """Whether every timepoint is reached and none has failed."""
        for semaphore, value in self.timepoints:  # noqa: SIM110 - a generator costs three times this
            if not semaphore.has_reached(value):
                return False
        return True

    @property
    def failure(self) -> BaseException | None:
        """The error of the first failed timepoint, if any."""
        for semaphore, _ in self.timepoints:
            if semaphore.failure is not None:
                return semaphore.failure
        return None

    def query(self) -> int:
        """Status code: OK when reached, DEFERRED while not, else that of the failure."""
        failure = self.failure
        if failure is not None:
            return status_of(failure)
        return StatusCode.OK if self.is_reached else StatusCode.DEFERRED

    def signal(self) -> None:
        """Signals every timepoint.

        Raises:
            InvocationError: OUT_OF_RANGE, a timepoint was reached already.
        """
        for semaphore, value in self.timepoints:
            semaphore.signal(value)

    def fail(self, error: BaseException) -> None:
        """Fails every timepoint's semaphore."""
        for semaphore, _ in self.timepoints:
            semaphore.fail(error)

    def wait(self, timeout: float | None = None) -> bool:
        """Blocks until the fence is reached.

        Returns:
            False if ``timeout`` seconds went by first.

        Raises:
            Error: A timepoint failed: the error it failed with.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        for semaphore, value in self.timepoints:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not semaphore.wait(value, left):
                failure = self.failure
                if failure is not None:
                    raise failure
                return False
        return True

    def on_reached(self, callback: TimepointCallback) -> None:
        """Calls back once, with None when all timepoints are reached or with the first failure.

        Runs on the thread that signals last, or at once if the fence is reached already.
        """
        if len(self.timepoints) == 1:
            semaphore, value = self.timepoints[0]
            semaphore.on_reached(value, callback)
            return
        if not self.timepoints:
            callback(None)
            return
        countdown = _Countdown(len(self.timepoints), callback)
        for semaphore, value in self.timepoints:
            semaphore.on_reached(value, countdown.reached)


class _Countdown:
    """Calls back after N timepoints or the first failure, once."""

    __slots__ = ("_callback", "_left", "_lock")

    def __init__(self, count: int, callback: TimepointCallback) -> None:
        self._lock = threading.RLock()  # re-entrant as the semaphores' own
        self._left = count
        self._callback = callback

    def reached(self, failure: BaseException | None) -> None:
        with self._lock:
            if self._left <= 0:
                return
            self._left = 0 if failure is not None else self._left - 1
            if self._left:
                return
        self._callback(failure)
