"""Resident memory of this process over time, as the kernel counts it."""

from __future__ import annotations

import ctypes
import os
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ResidentMemory", "give_back_freed_memory", "growth", "resident_bytes"]

_STATM = Path("/proc/self/statm")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_LARGE = 128 * 1024  # glibc's own, until it is changed or a larger block is freed


def give_back_freed_memory() -> None:
    """Has glibc return arrays to the system as soon as they are freed.

    Otherwise the first large array that is freed teaches it to keep later ones, in a heap for every
    few threads: after two minutes of the hammer 150 of 440 MB were free memory in such heaps, which
    went on growing by 1 % a minute. What was in use did not; a leak would not have been seen.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):  # another C library has other rules
        for setting in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
            library.mallopt(setting, _LARGE)


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
