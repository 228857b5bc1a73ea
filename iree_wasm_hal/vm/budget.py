"""What bounds a running program: instructions, and the call that it runs in.

Generated code subtracts from ``cell[0]`` on back edges and internal calls and asks ``refill`` when
that falls below zero, so a running loop pays for one subtraction and one comparison.
"""

from __future__ import annotations

import math

from iree_wasm_hal.errors import LimitError
from iree_wasm_hal.hal.call import THIS_THREAD

__all__ = ["Budget"]

_SLICE = 10_000
"""Instructions between two looks at the clock and at the call, about half a millisecond."""


class Budget:
    """The bounds of one context. Thread-compatible, with its context.

    Attributes:
        cell: One number: instructions left in the current slice.
        max_instruction_count: Bound per call into the context, None for none.
    """

    __slots__ = (
        "_granted",
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

    def enter(self) -> None:
        """Begins a call into the context.

        The outermost one counts its instructions from zero.

        Raises:
            InterruptedCallError: The thread's call has ended already.
        """
        if self._nesting == 0:
            self._spent = 0
            self.cell[0] = self._granted = self._slice()
            call = THIS_THREAD.call
            if call is not None:
                call.host_slice = self.cell
                if call.is_cancelled or call.due != math.inf:
                    call.check()
        self._nesting += 1

    def leave(self) -> None:
        """Ends what ``enter`` began."""
        self._nesting -= 1

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

        Called by generated code when its slice is used up.

        Raises:
            InterruptedCallError: The thread's call was cancelled, or its time is up.
            LimitError: The instruction bound is met.
        """
        self._spent += self._granted - self.cell[0]
        self.cell[0] = self._granted = 0
        call = THIS_THREAD.call
        if call is not None:
            call.check()
        allowed = self.max_instruction_count
        if allowed is not None and self._spent >= allowed:
            raise LimitError(
                f"the call executed more than {allowed} VM instructions",
                name="VM instructions",
                asked=self._spent,
                allowed=allowed,
            )
        self.cell[0] = self._granted = self._slice()

    def _slice(self) -> int:
        if self.max_instruction_count is None:
            return _SLICE
        return max(0, min(_SLICE, self.max_instruction_count - self._spent))
