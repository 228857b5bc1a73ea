"""Asks for threads and file descriptors before a library does that ends the process without.

A limit on them (``ulimit -u``, ``ulimit -n``, a container's number of processes) is met by any of
the libraries that start threads of their own, and most of those abort then.
"""

from __future__ import annotations

import contextlib
import os
import threading

from iree_wasm_hal.errors import EngineUnavailableError

__all__ = ["can_open_descriptors", "can_start_threads", "check_process_limits"]


def can_start_threads(count: int) -> bool:
    """Whether this process may have so many threads more at one time."""
    done = threading.Event()
    threads = [threading.Thread(target=done.wait, daemon=True) for _ in range(count)]
    started = 0
    try:
        for thread in threads:
            thread.start()
            started += 1
    except RuntimeError:
        return False
    finally:
        done.set()
        for thread in threads[:started]:
            thread.join()
    return True


def can_open_descriptors(count: int) -> bool:
    """Whether this process may have so many file descriptors more at one time."""
    with contextlib.ExitStack() as opened:
        try:
            for _ in range(count):
                opened.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        except OSError:
            return False
    return True


def check_process_limits(engine: str, *, threads: int, descriptors: int = 0) -> None:
    """Refuses to start an engine's library that would end the process.

    Args:
        engine: Entry-point name.
        threads: Threads that the library starts.
        descriptors: File descriptors that it opens.

    Raises:
        EngineUnavailableError: This process may not have that many.
    """
    missing = None
    if not can_start_threads(threads):
        missing = (
            f"starts {threads} threads, and this process may not have as many more (ulimit -u)"
        )
    elif not can_open_descriptors(descriptors):
        missing = (
            f"opens {descriptors} files, and this process may not have as many more (ulimit -n)"
        )
    if missing:
        msg = f"engine {engine!r} cannot be opened: its library {missing}"
        raise EngineUnavailableError(msg)
