"""How far a long compilation is: from the engine that compiles to whoever waits for it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CompileObserver", "observe_compilation", "report_compilation"]

CompileObserver = Callable[[int, int], None]
"""Called with the bytes of a module's code that are compiled, and with all of them."""

_OBSERVER: ContextVar[CompileObserver | None] = ContextVar("_OBSERVER", default=None)


@contextlib.contextmanager
def observe_compilation(observer: CompileObserver | None) -> Iterator[None]:
    """Calls a function as the engines that this thread has compile go on.

    Args:
        observer: Called in this thread, for each module from 0 bytes to all; None for none.
    """
    token = _OBSERVER.set(observer)
    try:
        yield
    finally:
        _OBSERVER.reset(token)


def report_compilation(done_byte_length: int, total_byte_length: int) -> None:
    """Tells how far the compilation of a module is.

    For an engine that may take long, in the thread that called ``Engine.compile``: first with 0
    bytes done, at the end with all of them.
    """
    observer = _OBSERVER.get()
    if observer is not None:
        observer(done_byte_length, total_byte_length)
