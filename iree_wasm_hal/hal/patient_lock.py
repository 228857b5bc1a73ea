"""A lock whose waiters look at the call that they are in."""

from __future__ import annotations

import _thread  # threading.RLock is a function until Python 3.12, which none can derive from

from iree_wasm_hal.hal.call import THIS_THREAD

__all__ = ["PatientLock"]

_SLICE_S = 0.02
"""Between two looks at whether the call was cancelled."""


class PatientLock(_thread.RLock):  # type: ignore[misc]  # final for typeshed alone
    """A re-entrant lock; waiting for it ends with the call that waits.

    ``with lock:`` takes it, and leaving it is native code, which Ctrl-C cannot interrupt. The same
    without the price of Python's own code in every call::

        try:
            if not lock.acquire(False):
                lock.wait()
            ...
        finally:
            try:
                lock.release()  # nothing before it, or Ctrl-C may come in between
            except RuntimeError:
                pass  # the wait ended without it
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
                self.wait()
        except BaseException:  # Ctrl-C behind acquire as well; raised again
            if self._is_owned():  # type: ignore[attr-defined]  # as threading.Condition does
                self.release()
            raise
        return True

    def wait(self) -> None:
        """Waits for the lock and takes it.

        Raises:
            InterruptedCallError: As ``__enter__``.
            CallTimeoutError: As ``__enter__``.
        """
        call = THIS_THREAD.call
        if call is None:
            self.acquire()
            return
        while not self.acquire(timeout=min(_SLICE_S, call.left)):
            call.check()
