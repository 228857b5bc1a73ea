"""On which cores helpers run: on any but the submitter's."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import time
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

__all__ = ["Placement"]

_TIME_BETWEEN = 100
"""From one move to the next, in durations of the last one: callers on many cores may take turns."""


class Placement:
    """Keeps helpers off the core that submits.

    Systems like to wake a thread on the core of whoever wakes it. Left there, helper and submitter
    keep each other waiting for tens of milliseconds, beside a core that idles.

    Args:
        threads: Of the helpers, started.
        clock: Seconds.
    """

    __slots__ = ("_allowed", "_clock", "_core", "_not_before_s", "_ours", "_threads")

    def __init__(
        self, threads: Sequence[threading.Thread], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._threads = threads
        self._clock = clock
        self._core = -1
        self._not_before_s = 0.0
        self._allowed: set[int] = set()
        self._ours: tuple[set[int], ...] = ()  # one of these is what we gave, or found

    def follow(self, core: int | None = None) -> None:
        """Keeps helpers off a core from now on.

        Args:
            core: The calling thread's by default, which is to submit.
        """
        if core is None:
            core = _core_finder()()
        if core == self._core:
            return
        start = self._clock()
        if start >= self._not_before_s:
            with contextlib.suppress(OSError):  # a sandbox may forbid it
                self._move(core)
            self._core = core
            end = self._clock()
            self._not_before_s = end + _TIME_BETWEEN * (end - start)

    def _move(self, core: int) -> None:
        if sys.platform != "linux":
            return
        ids = [thread.native_id for thread in self._threads if thread.native_id is not None]
        present = os.sched_getaffinity(ids[0])
        if present not in self._ours:  # inherited, or a user's decision
            self._allowed = present
        wanted = self._allowed - {core}
        if len(wanted) < len(ids):
            wanted = self._allowed
        self._ours = (present, wanted)  # either may be found if Ctrl-C comes now
        if wanted != present:
            for id_ in reversed(ids):  # the first, which is looked at, is the last that is moved
                os.sched_setaffinity(id_, wanted)
        self._ours = (wanted,)


@lru_cache(maxsize=1)
def _core_finder() -> Callable[[], int]:
    """Tells the core that the calling thread is on; always -1 where the system does not."""
    find: Callable[[], int] | None = None
    if sys.platform == "linux":
        find = getattr(ctypes.PyDLL(None), "sched_getcpu", None)
    return find or (lambda: -1)
