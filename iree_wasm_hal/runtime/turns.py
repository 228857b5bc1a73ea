"""Several things that one call at a time uses: whoever came first gets the first that is free."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from typing import TYPE_CHECKING, TypeVar

from iree_wasm_hal.status import StatusCode, invocation_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from iree_wasm_hal.hal.call import Call

__all__ = ["Turns"]

_SLICE_S = 0.02
"""Between two looks at whether a call that waits was cancelled."""
_T = TypeVar("_T")
_Turn = tuple[threading.Lock, int]  # and the thread


class Turns:
    """Who uses which of several things. Thread-safe.

    Ctrl-C can come wherever Python's own code runs, which threading's semaphores and conditions
    are. All that is held here is a native lock, given back first thing in a ``finally``; and a
    waiter that nobody woke looks by itself.

    Args:
        count: Number of things.
    """

    def __init__(self, count: int) -> None:
        self._locks = [threading.RLock() for _ in range(count)]
        self._waiting: deque[_Turn] = deque()

    def run(self, call: Call, use: Callable[[int], _T]) -> _T:
        """Calls ``use`` with the index of a thing that nobody uses, when there is one.

        Args:
            call: That needs it; its end ends the wait.
            use: Has the thing until it returns.

        Raises:
            InterruptedCallError: The call was cancelled.
            CallTimeoutError: Its time was up first.
            InvocationError: All things are in use by this very thread.
        """
        turn = (threading.Lock(), threading.get_ident())
        turn[0].acquire()  # released for whoever has to look again
        is_waiting = False
        try:
            while True:
                if self._is_first(turn):
                    result = self._try(turn, use)
                    if result is not None:
                        return result[0]
                    self._check_not_inside()
                if not is_waiting:
                    is_waiting = True
                    self._waiting.append(turn)  # and look again: nobody knew of it before
                elif not turn[0].acquire(timeout=min(_SLICE_S, call.left)):
                    call.check()
        finally:
            try:  # noqa: SIM105  # the first thing is native code
                self._waiting.remove(turn)
            except ValueError:  # it left when it got something
                pass
            self._wake_first()

    def _try(self, turn: _Turn, use: Callable[[int], _T]) -> tuple[_T] | None:
        """What ``use`` returned, or None if nothing is free."""
        # In order: those that run most often stay in the processor's caches.
        for index, lock in enumerate(self._locks):
            if lock._is_owned():  # type: ignore[attr-defined]  # as threading.Condition does
                continue  # by a call that this one is inside of
            try:
                if lock.acquire(False):
                    self._leave(turn)
                    return (use(index),)
            finally:
                try:  # noqa: SIM105  # as above
                    lock.release()
                except RuntimeError:  # someone else has it
                    pass
        return None

    def _is_first(self, turn: _Turn) -> bool:
        try:
            first = self._waiting[0]
        except IndexError:
            return True
        # A signal handler does not wait for what it interrupted.
        return first is turn or first[1] == turn[1]

    def _leave(self, turn: _Turn) -> None:
        """Makes room for the next, for which there may be something too."""
        with contextlib.suppress(ValueError):  # it had not to wait
            self._waiting.remove(turn)
            self._wake_first()

    def _wake_first(self) -> None:
        with contextlib.suppress(IndexError, RuntimeError):  # there is none, or it is awake
            self._waiting[0][0].release()

    def _check_not_inside(self) -> None:
        if all(lock._is_owned() for lock in self._locks):  # type: ignore[attr-defined]  # as above
            raise invocation_error(
                StatusCode.FAILED_PRECONDITION,
                "every module of the pool is in the middle of a call on this very thread; what "
                "runs inside of a call must leave them alone",
            )
