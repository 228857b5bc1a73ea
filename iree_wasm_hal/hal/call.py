"""One call of a program: until when it may run, and who may end it.

Everything that takes time looks at the call that its thread is in: the VM's budget, waits for
locks and fences, and through the watchdog the engine.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from typing import TYPE_CHECKING

from iree_wasm_hal.engine.contract import Feature
from iree_wasm_hal.errors import (
    ArgumentError,
    CallTimeoutError,
    EngineError,
    InterruptedCallError,
)
from iree_wasm_hal.hal.compatibility import able_engines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from iree_wasm_hal.engine.contract import EngineInfo
    from iree_wasm_hal.hal.watchdog import Watchdog

__all__ = ["THIS_THREAD", "Call", "check_seconds", "check_timeout", "inside", "uncounted"]


class Call:
    """A call of a program's function, or its initialisation. ``cancel`` is thread-safe.

    A call that begins within another is a part of it, and ends with it.

    Args:
        timeout: Seconds until it ends with CallTimeoutError; None for no limit of its own.

    Attributes:
        parent: The call of this thread that it began in, if any.
        timeout: Seconds; that of the parent where this ends it sooner.
        due: When the time is up, on the clock of ``time.monotonic``; infinite for no limit, and
            minus infinity once it is cancelled.
        is_cancelled: Whether it was told to end.
        watchdog: Of the device that it may be at work on, if there is one.
        host_slice: The VM's count of instructions until it looks at the call again, in a list of
            one; None before it runs.
        on_cancel: What else there is to do when it is cancelled; None for nothing.
    """

    __slots__ = (
        "due",
        "host_slice",
        "is_cancelled",
        "on_cancel",
        "parent",
        "timeout",
        "watchdog",
    )

    def __init__(self, timeout: float | None = None) -> None:
        self.timeout = timeout
        self.due = math.inf if timeout is None else time.monotonic() + timeout
        self.is_cancelled = False
        self.watchdog: Watchdog | None = None
        self.host_slice: list[int] | None = None
        self.on_cancel: Callable[[InterruptedCallError], None] | None = None
        parent = self.parent = THIS_THREAD.call
        if parent is not None and parent.due < self.due:
            self.timeout, self.due = parent.timeout, parent.due

    @property
    def left(self) -> float:
        """Seconds until the time is up, 0 or more."""
        return max(0.0, self.due - time.monotonic())

    @property
    def end(self) -> InterruptedCallError | None:
        """Why the call must end, or None if it may go on."""
        call: Call | None = self
        while call is not None:
            if call.is_cancelled:
                return InterruptedCallError("the call was cancelled")
            call = call.parent
        if self.due != math.inf and time.monotonic() >= self.due:
            return CallTimeoutError(f"the call took longer than its timeout of {self.timeout} s")
        return None

    def check(self) -> None:
        """Ends the call where it must end.

        Raises:
            InterruptedCallError: It was cancelled.
            CallTimeoutError: Its time is up.
        """
        end = self.end
        if end is not None:
            raise end

    def cancel(self) -> None:
        """Ends the call, from any thread; of one that is over nothing changes.

        Raises:
            EngineError: Something took the means of ending a kernel from the engine.
        """
        self.is_cancelled = True
        self.due = -math.inf
        if self.host_slice is not None:
            self.host_slice[0] = -1
        if self.on_cancel is not None:
            self.on_cancel(InterruptedCallError("the call was cancelled"))
        if self.watchdog is not None:
            self.watchdog.cancel(self)

    def chain(self) -> Iterator[Call]:
        """The call and those that it is a part of, innermost first."""
        call: Call | None = self
        while call is not None:
            yield call
            call = call.parent


class _ThisThread(threading.local):
    """What the running thread does."""

    call: Call | None = None


THIS_THREAD = _ThisThread()
"""Its ``call`` is set with a plain assignment and put back in a ``finally``: a context manager
written in Python can be left by Ctrl-C before its own code begins."""


@contextlib.contextmanager
def inside(call: Call | None) -> Iterator[None]:
    """The body is a part of a call."""
    outer = THIS_THREAD.call
    THIS_THREAD.call = call
    try:
        yield
    finally:
        THIS_THREAD.call = outer


@contextlib.contextmanager
def uncounted() -> Iterator[None]:
    """The body's time is not the running call's: the engine compiles, or a cache is read."""
    start = time.monotonic()
    try:
        yield
    finally:
        if THIS_THREAD.call is not None:
            elapsed = time.monotonic() - start
            for call in THIS_THREAD.call.chain():
                call.due += elapsed


def check_seconds(timeout: float | None) -> None:
    """Checks a time-out.

    Raises:
        ArgumentError: It is no number of seconds, 0 or more.
    """
    if timeout is None:
        return
    if not isinstance(timeout, (int, float)) or not timeout >= 0:
        raise ArgumentError(f"timeout is {timeout!r}; expected seconds, 0 or more, or None")


def check_timeout(engine: EngineInfo, timeout: float | None) -> None:
    """Checks that an engine can keep a time-out.

    Raises:
        ArgumentError: It is no number of seconds, 0 or more.
        EngineError: The engine cannot end a running kernel; says why and what else there is.
    """
    check_seconds(timeout)
    if timeout is None:
        return
    if Feature.INTERRUPT not in engine.features:
        reason = engine.notes.get(Feature.INTERRUPT, "it offers no way to")
        raise EngineError(
            f"timeout is {timeout}, but {engine.name} {engine.version} cannot end a running kernel "
            f'({reason}). Leave timeout unset, load the module with isolation="process", whose '
            "child process can be ended, or use an engine that can: "
            f"{able_engines([Feature.INTERRUPT])}"
        )
