"""Samples: how often, and on which clock."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Samples", "cpu_seconds", "repeated", "timed", "warm_up"]

ROUND_S = 0.1
"""Time for one kind of call in one round; slow engines make one call."""
_WARM_UP_S = 5.0
_STEADY_CALLS = 20
_MAX_SAMPLES = 1000


class Samples:
    """Seconds by name."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def add(self, name: str, value: float) -> None:
        self._values.setdefault(name, []).append(value)

    def take(self, name: str, sample: Callable[[], float]) -> None:
        """As many samples as a round has time for."""
        for value in repeated(sample):
            self.add(name, value)

    def median(self, name: str) -> float:
        return statistics.median(self._values[name])

    def medians(self) -> dict[str, float]:
        return {name: statistics.median(values) for name, values in self._values.items()}


def timed(call: Callable[[], object]) -> float:
    """Seconds on the clock."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def cpu_seconds(call: Callable[[], object]) -> float:
    """CPU time of the process: an engine may run the call on a thread of its own."""
    start = time.process_time()
    call()
    return time.process_time() - start


def repeated(sample: Callable[[], float]) -> list[float]:
    """Samples for one round."""
    end = time.perf_counter() + ROUND_S
    samples = [sample()]
    while time.perf_counter() < end and len(samples) < _MAX_SAMPLES:
        samples.append(sample())
    return samples


def warm_up(call: Callable[[], object]) -> None:
    """Calls until the best time has not fallen for a while: some engines compile in tiers."""
    end = time.perf_counter() + _WARM_UP_S
    best, since = float("inf"), 0
    while since < _STEADY_CALLS and time.perf_counter() < end:
        taken = timed(call)
        since = since + 1 if taken > 0.97 * best else 0
        best = min(best, taken)
