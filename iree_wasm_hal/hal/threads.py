"""Threads that a device starts."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from typing import TYPE_CHECKING

from iree_wasm_hal.engine.thread_stacks import thread_stacks
from iree_wasm_hal.errors import LimitError

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

__all__ = ["spin_limit", "start_threads"]

_SPIN_LIMIT = 20_000
"""Some 100 us of compiled code: longer than most tails of a dispatch, and than what a host does
between two submissions of a call. Whoever sleeps takes about as long to wake up."""


def start_threads(threads: Sequence[threading.Thread], *, stack_byte_length: int = 0) -> None:
    """Starts threads, in order.

    Args:
        threads: Not started yet.
        stack_byte_length: Of their native stacks; 0 for the process's own setting.

    Raises:
        LimitError: The process may not have as many; some may have been started.
    """
    with thread_stacks(stack_byte_length) if stack_byte_length else contextlib.nullcontext():
        for index, thread in enumerate(threads):
            try:
                thread.start()
            except RuntimeError as error:
                raise LimitError(
                    f"a device needs {len(threads)} threads, and this process may have {index} "
                    f"more ({error}): raise its limit (ulimit -u)",
                    name="threads",
                    asked=len(threads),
                    allowed=index,
                ) from error


@functools.cache
def spin_limit(worker_count: int) -> int:
    """How often a worker polls before it sleeps: not at all where workers must share cores."""
    if sys.platform == "linux":
        core_count = len(os.sched_getaffinity(0))
    else:
        core_count = os.cpu_count() or 1
    return _SPIN_LIMIT if worker_count <= core_count else 0
