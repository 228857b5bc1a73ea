"""One line on standard error that tells how far a long compilation is, where someone looks on."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["ProgressLine"]

_PATIENCE_S = 1.0
_ERASE_LINE = "\r\x1b[K"


class ProgressLine:
    """Shows nothing unless standard error is a terminal and it takes more than a second.

    Args:
        what: What goes on.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._is_shown = False
        self._started = time.monotonic()
        # Python has no standard error at all when the caller closed it (`2>&-`).
        self._is_terminal = sys.stderr is not None and sys.stderr.isatty()

    def __enter__(self) -> ProgressLine:
        """Starts the clock."""
        self._started = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Takes the line away."""
        if self._is_shown:
            sys.stderr.write(_ERASE_LINE)
            sys.stderr.flush()

    def show(self, done_byte_length: int, total_byte_length: int) -> None:
        """Writes the line anew."""
        seconds = time.monotonic() - self._started
        if not self._is_terminal or seconds < _PATIENCE_S:
            return
        percent = 100 * done_byte_length // max(total_byte_length, 1)
        sys.stderr.write(
            f"{_ERASE_LINE}{self._what}: {percent} % of {total_byte_length / 1024:.0f} KiB, "
            f"{seconds:.0f} s"
        )
        sys.stderr.flush()
        self._is_shown = True
