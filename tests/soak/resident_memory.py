"""Resident memory of this process over time, as the kernel counts it."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ResidentMemory", "growth", "resident_bytes"]

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

    def growth(self, settling_s: float) -> float | None:
        """How much more the last of the time took than the first of it, after the settling.

        Both are as long as the settling, or half of what came after it where that is less. None
        where that is not one window.
        """
        return growth(self.medians(), round(settling_s / self._window_s))


def growth(medians: Sequence[float], settling_count: int) -> float | None:
    """Does what ``ResidentMemory.growth`` does with windows that were sampled already."""
    settled = medians[settling_count:]
    count = min(settling_count, len(settled) // 2)
    if not count:
        return None
    return statistics.median(settled[-count:]) / statistics.median(settled[:count]) - 1
