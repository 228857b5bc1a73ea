"""Threads that a device starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.errors import LimitError

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

__all__ = ["start_threads"]


def start_threads(threads: Sequence[threading.Thread]) -> None:
    """Starts threads, in order.

    Raises:
        LimitError: The process may not have as many; some may have been started.
    """
    for index, thread in enumerate(threads):
        try:
            thread.start()
        except RuntimeError as error:
            raise LimitError(
                f"a device needs {len(threads)} threads, and this process may have {index} more "
                f"({error}): raise its limit (ulimit -u)",
                name="threads",
                asked=len(threads),
                allowed=index,
            ) from error
