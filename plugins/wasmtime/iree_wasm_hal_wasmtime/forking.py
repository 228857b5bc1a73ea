"""Knows forked children, in which wasmtime cannot compile as elsewhere.

It compiles on threads that the whole process shares. A child has none of them, and would wait for
them for ever, so there a module is compiled on the calling thread.
"""

from __future__ import annotations

import os


class _Process:
    """Whether this process was forked from one that had opened the library."""

    def __init__(self) -> None:
        self.is_watched = False
        self.is_child = False

    def after_fork(self) -> None:
        self.is_child = True


_process = _Process()


def watch() -> None:
    """To be called before the first compilation."""
    if not _process.is_watched and hasattr(os, "register_at_fork"):
        _process.is_watched = True
        os.register_at_fork(after_in_child=_process.after_fork)


def is_child() -> bool:
    """Whether this process was forked from one that called ``watch``."""
    return _process.is_child
