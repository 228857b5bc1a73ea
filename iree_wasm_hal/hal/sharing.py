"""Whether a submission is worth sharing with the helpers, found out by trying."""

from __future__ import annotations

from collections import deque

__all__ = ["Sharing"]

_SHORT_S = 1e-3
"""What takes longer is shared without further ado: handing it over takes some 10 us, or 50 where
helpers have to be woken."""
_SETTLING_COUNT = 2
"""First executions of a trial, which are not counted: helpers are on their way, caches cold."""
_SAMPLE_COUNT = 5
"""Executions that speak for a way, by their median: two of them may have been disturbed."""
_PATIENCE_S = 10e-3
"""Of a trial with helpers: a system that woke one on the submitter's own core takes some ticks of
its clock to move it to another."""
_BRIEF_S = 50e-6
"""What takes less alone has too little to gain for that patience."""
_FIRST_PAUSE, _LAST_PAUSE = 4, 64
"""Time between two trials, in durations of the last one; doubled as long as they change nothing."""


class Sharing:
    """Decides for one submission, which is executed again and again.

    One way, shared or alone, is the usual one. Now and then the other is tried, and becomes the
    usual one where it is faster. What matters is time and not how often: in the long run trials
    take one part in 65, whatever a submission takes.

    It changes no result: those do not depend on the number of workers.

    Attributes:
        is_worthwhile: Whether to share the next execution.
    """

    __slots__ = (
        "_is_trial",
        "_pause",
        "_recent_s",
        "_trial_count",
        "_trial_s",
        "_until_trial_s",
        "_usual_s",
        "is_worthwhile",
    )

    def __init__(self) -> None:
        self.is_worthwhile = True
        self._is_trial = False
        self._recent_s: deque[float] = deque(maxlen=_SAMPLE_COUNT)
        self._usual_s = 0.0
        self._trial_count = 0
        self._trial_s = 0.0
        self._until_trial_s = 0.0
        self._pause = _FIRST_PAUSE

    def note(self, taken_s: float) -> None:
        """Takes the execution into account that ``is_worthwhile`` decided about."""
        self._recent_s.append(taken_s)
        if self._is_trial:
            self._trial_count += 1
            self._trial_s += taken_s
            if self._trial_count >= _SETTLING_COUNT + _SAMPLE_COUNT:
                self._judge()
            return
        self._until_trial_s -= taken_s
        if len(self._recent_s) < _SAMPLE_COUNT or (
            self._until_trial_s > 0.0 and taken_s < _SHORT_S
        ):
            return
        usual_s = _median(self._recent_s)
        if usual_s >= _SHORT_S:
            self.is_worthwhile = True
        elif self._until_trial_s <= 0.0:
            self._begin_trial(usual_s)

    def _begin_trial(self, usual_s: float) -> None:
        self._usual_s = usual_s
        self._is_trial = True
        self._trial_count = 0
        self._trial_s = 0.0
        self._recent_s.clear()
        self.is_worthwhile = not self.is_worthwhile

    def _judge(self) -> None:
        """Ends the trial, unless there is hope that helpers are yet to come."""
        if _median(self._recent_s) < self._usual_s:
            self._pause = _FIRST_PAUSE
        elif self.is_worthwhile and self._usual_s >= _BRIEF_S and self._trial_s < _PATIENCE_S:
            return
        else:
            self.is_worthwhile = not self.is_worthwhile
            self._recent_s.clear()
        self._until_trial_s = self._pause * self._trial_s
        self._pause = min(2 * self._pause, _LAST_PAUSE)
        self._is_trial = False


def _median(samples: deque[float]) -> float:
    # That of the standard library costs 10 ms to import.
    return sorted(samples)[len(samples) // 2]  # fewer where Ctrl-C came as they were cleared
