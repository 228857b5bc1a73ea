"""Resident memory of this process over time, as the kernel counts it."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

__all__ = ["ResidentMemory", "resident_bytes"]

_STATM = Path("/proc/self/statm")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """Bytes of this process that are in memory now."""
    return int(_STATM.read_text().split()[1]) * _PAGE


class ResidentMemory:
    """Samples, and what they come to in windows of equal length.

    One sample says little while modules come and go; the median of a window does.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._start = time.monotonic()
        self._windows: list[list[int]] = []

    def sample(self) -> None:
        """Takes one sample."""
        number = int((time.monotonic() - self._start) / self._window_s)
        while len(self._windows) <= number:
            self._windows.append([])
        self._windows[number].append(resident_bytes())

    def medians(self) -> list[float]:
        """One per window that is over."""
        return [statistics.median(window) for window in self._windows[:-1] if window]

    def growth(self, settling_s: float) -> float:
        """How much more the last ``settling_s`` took than as long a time after the settling.

        0 for a time that is too short to tell.
        """
        count = round(settling_s / self._window_s)
        settled = self.medians()[count:]
        if not settled:
            return 0.0
        return statistics.median(settled[-count:]) / statistics.median(settled[:count]) - 1
