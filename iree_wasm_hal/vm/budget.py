"""What bounds a running program: instructions, wall clock, and a caller's interrupt.

Generated code subtracts from ``cell[0]`` on back edges and internal calls and asks ``refill`` when
that falls below zero, so a running loop pays for one subtraction and one comparison.
"""

from __future__ import annotations

import time

from iree_wasm_hal.errors import InterruptedCallError, LimitError

__all__ = ["Budget"]

_SLICE = 10_000
"""Instructions between two looks at the clock, about half a millisecond."""


class Budget:
    """The bounds of one context. ``interrupt`` may be called from any thread.

    Attributes:
        cell: One number: instructions left in the current slice.
        max_instruction_count: Bound per call into the context, None for none.
    """

    __slots__ = (
        "_deadline",
        "_granted",
        "_interrupted",
        "_nesting",
        "_spent",
        "cell",
        "max_instruction_count",
    )

    def __init__(self, max_instruction_count: int | None = None) -> None:
        self.cell = [_SLICE]
        self.max_instruction_count = max_instruction_count
        self._spent = 0
        self._granted = _SLICE
        self._nesting = 0
        self._deadline: float | None = None
        self._interrupted = False

    def enter(self) -> None:
        """Begins a call into the context.

        The outermost one counts its instructions from zero and forgets an old interrupt.

        Raises:
            InterruptedCallError: The deadline has passed already.
        """
        if self._nesting == 0:
            self._spent = 0
            self._interrupted = False
            self.cell[0] = self._granted = self._slice()
            if self._deadline is not None:
                self._check_deadline()
        self._nesting += 1

    def leave(self) -> None:
        """Ends what ``enter`` began."""
        self._nesting -= 1

    def set_deadline(self, seconds: float | None) -> None:
        """Ends calls ``seconds`` from now; None lifts the deadline."""
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self.cell[0] = -1

    def interrupt(self) -> None:
        """Ends the running call at its next back edge or call."""
        self._interrupted = True
        self.cell[0] = -1

    def charge(self, count: int) -> None:
        """Takes ``count`` instructions off, for a single one that runs long.

        Raises:
            InterruptedCallError: See ``refill``.
            LimitError: See ``refill``.
        """
        self.cell[0] -= count
        if self.cell[0] < 0:
            self.refill()

    def refill(self) -> None:
        """Looks at all bounds and grants a new slice.

        Called by generated code when its slice is used up, and by native functions that wait.

        Raises:
            InterruptedCallError: ``interrupt`` was called, or the deadline has passed.
            LimitError: The instruction bound is met.
        """
        self._spent += self._granted - self.cell[0]
        self.cell[0] = self._granted = 0
        if self._interrupted:
            self._interrupted = False
            raise InterruptedCallError("the call was interrupted")
        self._check_deadline()
        allowed = self.max_instruction_count
        if allowed is not None and self._spent >= allowed:
            raise LimitError(
                f"the call executed more than {allowed} VM instructions",
                name="VM instructions",
                asked=self._spent,
                allowed=allowed,
            )
        self.cell[0] = self._granted = self._slice()

    def _check_deadline(self) -> None:
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise InterruptedCallError("the call ran past its deadline")

    def _slice(self) -> int:
        if self.max_instruction_count is None:
            return _SLICE
        return max(0, min(_SLICE, self.max_instruction_count - self._spent))
