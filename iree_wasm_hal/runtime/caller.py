"""What the functions of a module share: whose turn it is, and which calls are under way."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from iree_wasm_hal.hal.call import THIS_THREAD, Call, check_timeout, inside
from iree_wasm_hal.hal.patient_lock import PatientLock
from iree_wasm_hal.runtime.background import Background

if TYPE_CHECKING:
    from collections.abc import Callable

    from iree_wasm_hal.hal.device import Device

__all__ = ["Caller"]


class Caller:
    """The calls of one module. Thread-safe.

    Args:
        device: The module's.
        end: Gives up what the module has, once, when it is closed and no call runs.
        timeout: Seconds that a call may take unless it says itself; None for no limit.

    Attributes:
        lock: Held during a call; a VM context runs one at a time.
        running: The call that runs now. Under the lock.
        background: Runs calls that an event loop waits for.
        is_closed: Whether the module is closed: whoever had the lock calls ``finish`` then.
    """

    __slots__ = (
        "_device",
        "_end",
        "_in_flight",
        "_timeout",
        "_watchdog",
        "background",
        "is_closed",
        "lock",
        "running",
    )

    def __init__(
        self, device: Device, end: Callable[[], None], timeout: float | None = None
    ) -> None:
        self._device = device
        self._end: Callable[[], None] | None = end
        self._watchdog = device.watchdog
        self._timeout = timeout
        self._in_flight: set[Call] = set()
        self.lock = PatientLock()
        self.running: Call | None = None
        self.background = Background()
        self.is_closed = False

    def begin(self, timeout: float | None) -> Call:
        """A new call; its time runs from now on.

        Args:
            timeout: Seconds, 0 or more; infinite for no limit, None for the module's own.

        Raises:
            ArgumentError: The time-out is none.
            EngineError: The engine cannot end a running kernel.
        """
        if timeout is None:
            timeout = self._timeout
        else:
            check_timeout(self._device.engine.info, timeout)
        call = Call(None if timeout == math.inf else timeout)
        if call.parent is None:  # else it is told when there is work
            call.watchdog = self._watchdog
        return call

    def track(self, call: Call) -> None:
        """Notes a call that goes on without a thread of its own; see ``release``.

        Raises:
            LimitError: There is no thread to watch its time-out.
        """
        self._in_flight.add(call)
        if call.due != math.inf:
            self._watchdog.add(call)

    def release(self, call: Call) -> None:
        """Forgets what ``track`` was told."""
        self._in_flight.discard(call)
        if call.due != math.inf:
            self._watchdog.discard(call)

    def cancel(self) -> None:
        """Ends the running call and those in flight; see ``Module.cancel``."""
        calls = [*self._in_flight]
        running = self.running
        if running is not None:
            calls.append(running)
        for call in calls:
            call.cancel()

    def close(self) -> None:
        """Ends the module, when its running call is over. Idempotent.

        Waits for that call, but not within a call of this thread, as a signal handler may be: the
        other one may wait for what this thread holds. Then whoever runs it ends the module.

        Raises:
            Error: As ``finish``.
        """
        if THIS_THREAD.call is not None:
            self.is_closed = True
            self.background.close()
            self.finish()
            return
        with self.lock:
            self.is_closed = True
            self.background.close()
            self.finish()
        self.background.join()

    def finish(self) -> None:
        """Ends the closed module, if no call runs.

        Raises:
            Error: The program's own code for this failed; the module is ended nevertheless.
        """
        lock = self.lock
        try:
            if lock.acquire(False) and self.running is None:
                end, self._end = self._end, None
                if end is not None:
                    with inside(self.begin(None)):
                        end()
        finally:
            try:  # noqa: SIM105 - as PatientLock says
                lock.release()
            except RuntimeError:
                pass  # whoever has it finishes
