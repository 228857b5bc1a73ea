"""Whether a submission is worth sharing with the helpers, found out by trying."""

from __future__ import annotations

import math

__all__ = ["Sharing"]

_SHORT_S = 1e-3
"""What takes longer is shared without further ado: handing it over takes some 10 us, or 50 where
helpers have to be woken."""
_FIRST_INTERVAL, _LAST_INTERVAL = 8, 1024
"""Executions between two trials of the slower way; doubled as long as it stays slower."""
_FASTER_WEIGHT, _SLOWER_WEIGHT = 0.5, 0.0625
"""Of an execution in the average. Many things make one slow that tell nothing of the next."""


class Sharing:
    """Decides for one submission, which is executed again and again.

    It changes no result: those do not depend on the number of workers.
    """

    __slots__ = (
        "_alone_s",
        "_executions_left",
        "_interval",
        "_is_awake",
        "_is_repeated",
        "_shared_s",
        "_was_shared",
    )

    def __init__(self) -> None:
        self._shared_s = math.inf
        self._alone_s = math.inf
        self._interval = _FIRST_INTERVAL
        self._executions_left = 0
        self._was_shared = False
        self._is_awake = False
        self._is_repeated = False

    def is_worthwhile(self) -> bool:
        """Whether to share the next execution."""
        is_shared = self._decide()
        self._is_awake = is_shared and self._was_shared
        self._was_shared = is_shared
        return is_shared

    def note(self, taken_s: float) -> None:
        """Takes the execution into account that ``is_worthwhile`` decided about."""
        if not self._was_shared:
            self._alone_s = _average(self._alone_s, taken_s)
        elif self._is_awake or self._shared_s == math.inf:
            # Otherwise helpers were asleep because the executions before were not shared.
            self._shared_s = _average(self._shared_s, taken_s)

    def _decide(self) -> bool:
        if self._is_repeated:
            self._is_repeated = False
            return True
        shared_s, alone_s = self._shared_s, self._alone_s
        if shared_s >= _SHORT_S and alone_s >= _SHORT_S:
            return True
        usual = shared_s <= alone_s
        if self._executions_left:
            self._executions_left -= 1
            return usual
        self._executions_left = self._interval
        self._interval = min(2 * self._interval, _LAST_INTERVAL)
        self._is_repeated = not usual  # a trial with helpers takes two
        return not usual


def _average(old_s: float, new_s: float) -> float:
    if old_s >= _SHORT_S:
        return new_s  # the first one, or one that met cold caches
    weight = _FASTER_WEIGHT if new_s < old_s else _SLOWER_WEIGHT
    return old_s + weight * (new_s - old_s)
