"""A lock whose waiters look at the call that they are in."""

from __future__ import annotations

import _thread  # threading.RLock is a function until Python 3.12, which none can derive from

from iree_wasm_hal.hal.call import THIS_THREAD

__all__ = ["PatientLock"]

_SLICE_S = 0.02
"""Between two looks at whether the call was cancelled."""


class PatientLock(_thread.RLock):  # type: ignore[misc]  # final for typeshed alone
    """A re-entrant lock; waiting for it ends with the call that waits.

    Leaving it is native code, which Ctrl-C cannot interrupt.
    """

    __slots__ = ()

    def __enter__(self) -> bool:  # type: ignore[override]  # acquire itself, for typeshed
        """Waits for the lock.

        Raises:
            InterruptedCallError: The thread's call was cancelled.
            CallTimeoutError: Its time was up first.
        """
        try:
            if not self.acquire(False):
                self._wait()
        except BaseException:  # Ctrl-C behind acquire as well; raised again
            if self.is_mine:
                self.release()
            raise
        return True

    @property
    def is_mine(self) -> bool:
        """Whether this thread holds it."""
        return self._is_owned()  # type: ignore[attr-defined,no-any-return]  # as Condition does

    def _wait(self) -> None:
        call = THIS_THREAD.call
        if call is None:
            self.acquire()
            return
        while not self.acquire(timeout=min(_SLICE_S, call.left)):
            call.check()
