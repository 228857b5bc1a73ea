"""The native stack size of new threads, which is one setting for the whole process."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["thread_stacks"]

# Re-entrant: a signal handler may start threads while this thread does.
_LOCK = threading.RLock()


@contextlib.contextmanager
def thread_stacks(byte_length: int) -> Iterator[None]:
    """Gives the threads that are started meanwhile a stack of so many bytes.

    The setting is put back afterwards. One thread at a time is inside: of two, the second would
    take the first one's size for the user's, and leave it set. Threads that others start meanwhile
    by themselves get this size too, as nothing can prevent.

    Args:
        byte_length: Of the native stacks; 32 KiB or more.

    Raises:
        ValueError: The platform has no stacks of this size.
    """
    with _LOCK:
        before = threading.stack_size()
        try:
            threading.stack_size(byte_length)
            yield
        finally:
            threading.stack_size(before)


if hasattr(os, "register_at_fork"):
    # A forked child has neither another thread's size nor a lock that nobody gives back.
    os.register_at_fork(
        before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_LOCK.release
    )
