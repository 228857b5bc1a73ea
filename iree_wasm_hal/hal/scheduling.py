"""When queue operations run: at once, or when the fence they wait for is reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.errors import ClosedError, Error
from iree_wasm_hal.hal.call import THIS_THREAD, inside
from iree_wasm_hal.hal.patient_lock import PatientLock
from iree_wasm_hal.status import StatusCode, invocation_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from iree_wasm_hal.hal.fence import Fence

__all__ = ["Scheduler"]


class Scheduler:
    """Runs the operations of one device, one at a time. Thread-safe.

    Attributes:
        lock: Held while an operation runs; call ``check_not_inside`` before taking it. A call that
            waits for it can be ended.
        is_closed: Set under the lock; nothing runs afterwards.
    """

    __slots__ = ("is_closed", "lock")

    def __init__(self) -> None:
        self.lock = PatientLock()  # never taken twice
        self.is_closed = False

    def check_open(self) -> None:
        """Checks that the device is open.

        Raises:
            ClosedError: It is not.
        """
        if self.is_closed:
            raise ClosedError("use of a device after its close()")

    def check_not_inside(self) -> None:
        """Checks that this thread is not in the middle of an operation.

        A signal handler of Python's may be, and would wait for itself.

        Raises:
            InvocationError: FAILED_PRECONDITION, it is.
        """
        if self.lock._is_owned():  # type: ignore[attr-defined]  # as threading.Condition does
            raise invocation_error(
                StatusCode.FAILED_PRECONDITION,
                "the device is in the middle of an operation on this very thread; a signal handler "
                "must leave it alone until that is over",
            )

    def submit(
        self,
        wait: Fence | None,
        signal: Fence | None,
        operation: Callable[..., None],
        *arguments: object,
    ) -> None:
        """Runs an operation when ``wait`` is reached, then signals ``signal``.

        Args:
            wait: None is reached. If it failed, ``signal`` fails with the same error, which is
                raised where there is no ``signal``.
            signal: None for none. Fails with the operation's error.
            operation: Called with the lock held, on this thread or on the one that signals.
            arguments: Kept alive until then.

        Raises:
            Error: The operation's, if it ran at once.
            InterruptedCallError: This thread's call ended while another's operation ran.
            ClosedError: The device is closed.
        """
        if wait is not None and not wait.is_reached:
            self._defer(wait, signal, operation, arguments)
            return
        lock = self.lock
        try:
            if lock._is_owned():  # type: ignore[attr-defined]  # as Condition does
                self.check_not_inside()
            try:
                if not lock.acquire(False):
                    lock.wait()
                if self.is_closed:
                    self.check_open()
                operation(*arguments)
            finally:
                try:  # noqa: SIM105 - as PatientLock says
                    lock.release()
                except RuntimeError:
                    pass
        except BaseException as error:
            if signal is not None:
                signal.fail(error)
            raise
        if signal is not None:
            signal.signal()

    def _defer(
        self,
        wait: Fence,
        signal: Fence | None,
        operation: Callable[..., None],
        arguments: tuple[object, ...],
    ) -> None:
        failure = wait.failure
        if failure is not None:
            if signal is None:
                raise failure
            signal.fail(failure)
            return

        call = THIS_THREAD.call  # whoever signals may be in another

        def run(failure: BaseException | None) -> None:
            if failure is not None:
                if signal is not None:
                    signal.fail(failure)
                return
            try:
                with inside(call):
                    if call is not None:
                        call.check()
                    self.submit(None, signal, operation, *arguments)
            except Error as error:
                # The signal fence carries it to whoever waits for the result.
                if signal is None:
                    raise
                signal.fail(error)

        wait.on_reached(run)
