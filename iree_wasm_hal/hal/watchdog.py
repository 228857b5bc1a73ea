"""Ends engine calls of calls that are cancelled or run late."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING

from iree_wasm_hal.engine.contract import Feature
from iree_wasm_hal.errors import CallTimeoutError, EngineError, InterruptedCallError, LimitError
from iree_wasm_hal.hal.call import THIS_THREAD, check_timeout
from iree_wasm_hal.hal.threads import start_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from iree_wasm_hal.engine.contract import EngineInfo
    from iree_wasm_hal.hal.call import Call

__all__ = ["Watchdog"]

_REPEAT_S = 0.02
_LONGEST_S = 1e6
"""A wait of more overflows the system's time types."""


class Watchdog:
    """Watches the one thing that a device's engine does at a time.

    ``begin`` and ``end`` stand around it. A thread of the watchdog's own ends what runs late; it
    starts with the first call that has a time-out. No code of the application runs in it.

    Args:
        engine: Of the device.
        timeout: Seconds that any watched work may take; None for no limit but the call's own.

    Raises:
        EngineError: There is a ``timeout``, and the engine cannot interrupt a running kernel.
    """

    __slots__ = (
        "_call",
        "_can_interrupt",
        "_condition",
        "_due",
        "_is_closed",
        "_is_working",
        "_lock",
        "_pending",
        "_process_id",
        "_stop",
        "_thread",
        "_wake_at",
        "_work_due",
        "timeout",
    )

    def __init__(self, engine: EngineInfo, timeout: float | None = None) -> None:
        check_timeout(engine, timeout)
        self.timeout = timeout
        self._can_interrupt = Feature.INTERRUPT in engine.features
        self._stop: Callable[[], Callable[[], None] | None] = _nothing
        self._is_closed = False
        self._is_working = False
        self._reset()

    def _reset(self) -> None:
        # Re-entrant: a signal handler may cancel a call of the thread that it runs on. Taken itself
        # and not through the condition, whose methods are Python's: Ctrl-C could end them half way.
        self._lock = threading.RLock()
        self._condition = threading.Condition(self._lock)
        self._call: Call | None = None
        self._due = self._work_due = self._wake_at = math.inf
        self._pending: dict[Call, float] = {}
        self._process_id = os.getpid()
        self._thread: threading.Thread | None = None

    def attach(self, stop: Callable[[], None]) -> None:
        """Says how work is ended, from another thread: a method of an object that is not kept."""
        self._stop = weakref.WeakMethod(stop)

    def begin(self) -> None:
        """Begins to watch work of this thread's call, until ``end``.

        Raises:
            InterruptedCallError: The call has ended already.
            LimitError: There is no thread to watch it.
        """
        if self._is_working:
            self.end()  # Ctrl-C kept the last work from it, and its time is not this one's
        call = self._call = THIS_THREAD.call
        self._is_working = True
        # Whoever cancelled the call before this line is heeded here; later ones find the work.
        if call is None:
            if self.timeout is not None:
                self._arm(None)
        elif (
            call.due != math.inf
            or call.watchdog is not self
            or self.timeout is not None
            or call.parent is not None  # it may have been cancelled, and this one's due not changed
        ):
            self._arm(call)

    def end(self) -> None:
        """The work is over, in whichever way."""
        with self._lock:  # whoever is about to stop it has done so, and meets no later work
            self._is_working = False
            self._call = None
            self._due = math.inf

    def cancel(self, call: Call) -> None:
        """Ends the work that runs for a call, from any thread; of another nothing changes.

        Where the engine cannot end a kernel, the work ends before its next workgroup.

        Raises:
            EngineError: Something took the means of ending a kernel from the engine.
        """
        with self._lock:
            if self._call is not None and any(one is call for one in self._call.chain()):
                self.cancel_all()

    def cancel_all(self) -> None:
        """Ends the work that runs, whatever call it is for; nothing otherwise.

        Raises:
            EngineError: As ``cancel``.
        """
        with self._lock:
            if not self._is_working:
                return
            try:
                self._end_work()
            finally:
                # Again and again until it is over: a worker may have been between two instances.
                self._due = time.monotonic() + _REPEAT_S
                self._wake_by(self._due)

    def end_of(self, error: InterruptedCallError, where: str) -> InterruptedCallError:
        """What an interruption of watched work means to its caller, and where it happened."""
        call = THIS_THREAD.call
        end = None if call is None else call.end
        if end is None and self.timeout is not None and time.monotonic() >= self._work_due:
            end = CallTimeoutError(f"the call took longer than its timeout of {self.timeout} s")
        if end is None:
            return error
        return type(end)(f"{end} ({where})")

    def add(self, call: Call) -> None:
        """Ends a call that no thread waits in when its time is up, by its ``on_cancel``.

        Raises:
            LimitError: There is no thread to watch it.
        """
        if os.getpid() != self._process_id:
            self._reset()
        with self._lock:
            self._pending[call] = call.due
            self._wake_by(call.due)

    def discard(self, call: Call) -> None:
        """Forgets what ``add`` was told. Idempotent."""
        with self._lock:
            self._pending.pop(call, None)

    def stop(self) -> None:
        """Lets the thread end. Idempotent."""
        if os.getpid() != self._process_id:
            return
        with self._lock:
            self._is_closed = True
            self._condition.notify_all()

    def close(self) -> None:
        """Ends the thread and waits for it. Idempotent."""
        self.stop()
        thread = self._thread
        if os.getpid() == self._process_id and thread not in (None, threading.current_thread()):
            thread.join()

    def _arm(self, call: Call | None) -> None:
        """Looks whether the call may begin, and begins to watch the clock."""
        if self._thread is not None and os.getpid() != self._process_id:
            self._reset()  # a forked child has no thread but the one that forked
            self._call = call
        try:
            due = math.inf
            if call is not None:
                for one in call.chain():
                    one.watchdog = self
                call.check()
                due = call.due
            if self.timeout is not None:
                self._work_due = time.monotonic() + self.timeout
                due = min(due, self._work_due)
            if due != math.inf:
                with self._lock:
                    self._due = due
                    self._wake_by(due)
        except BaseException:  # raised again
            self.end()
            raise

    def _wake_by(self, due: float) -> None:
        """Sees to it that the thread looks again at a time. Under the lock."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="iree-wasm-watchdog", daemon=True)
            start_threads([thread])
            self._thread = thread
        elif due < self._wake_at:
            self._condition.notify()  # first: Ctrl-C in between may cost a second one
            self._wake_at = due

    def _run(self) -> None:
        this_thread = threading.current_thread()
        while not self._is_closed:
            with self._lock:
                if this_thread is not self._thread:
                    return  # Ctrl-C came as it was started: there is another, or will be
                now = time.monotonic()
                if self._due <= now:
                    self._due = now + _REPEAT_S
                    with contextlib.suppress(EngineError):  # told to those who cancel
                        self._end_work()
                late = [call for call, due in self._pending.items() if due <= now]
                for call in late:
                    del self._pending[call]
                if not late and not self._is_closed:
                    self._wake_at = min(self._due, *self._pending.values(), now + _LONGEST_S)
                    self._condition.wait(self._wake_at - now)
            for call in late:
                _start_to_end(call)

    def _end_work(self) -> None:
        """Asks the work to end. Under the lock, so that it cannot hit later work."""
        stop = self._stop()
        if not self._is_working or stop is None:
            return
        # Without the feature there is still the flag that executors look at.
        quiet = (
            contextlib.nullcontext() if self._can_interrupt else contextlib.suppress(EngineError)
        )
        with quiet:
            stop()


def _nothing() -> None:
    """Before anything is attached."""


def _start_to_end(call: Call) -> None:
    """Ends a late call in a thread of its own.

    A user's code may wait for that end, and run as a part of it: it may raise, call something that
    the watchdog must end, or close the device.
    """
    thread = threading.Thread(
        target=_end_late, args=(call,), name="iree-wasm-late-call", daemon=True
    )
    try:
        start_threads([thread])
    except LimitError:
        _end_late(call)  # better here than never


def _end_late(call: Call) -> None:
    end, on_cancel = call.end, call.on_cancel
    if end is None or on_cancel is None:
        return
    try:
        on_cancel(end)
    except BaseException:  # the application's own; reported as that of any thread
        arguments = threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread()))
        threading.excepthook(arguments)
