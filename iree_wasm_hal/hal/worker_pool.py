"""The workers of a device: the submitting thread and those that help it."""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING

from iree_wasm_hal.errors import InterruptedCallError, TrapError
from iree_wasm_hal.hal.helpers import Helpers
from iree_wasm_hal.hal.worker import Worker, overwritten_error
from iree_wasm_hal.status import StatusCode, invocation_error
from iree_wasm_hal.wasm.stream import (
    SUBMISSION_BLOCK,
    Result,
    Status,
    SubmissionReport,
    decode_submission_block,
)

if TYPE_CHECKING:
    from iree_wasm_hal.engine.contract import Instance, WasmFunction
    from iree_wasm_hal.hal.guest_memory import GuestMemory
    from iree_wasm_hal.hal.statistics import Counters
    from iree_wasm_hal.hal.suballocator import Suballocator
    from iree_wasm_hal.hal.submission import Submission
    from iree_wasm_hal.hal.watchdog import Watchdog

__all__ = ["WorkerPool"]

_STOP_OFFSET = SUBMISSION_BLOCK.offset("stop")
_WORKER_COUNT_OFFSET = SUBMISSION_BLOCK.offset("worker_count")
_STOP = _ONE = struct.pack("<I", 1)

_STATUS_TEXT = {
    Status.BAD_COMMAND: "its opcode was overwritten; a kernel wrote outside its buffers",
    Status.LOCAL_MEMORY: "workgroup-local memory is too small",
    Status.WORKGROUP_COUNT: "its indirect workgroup count is above the limit",
}


class WorkerPool:
    """Executes submissions, one at a time: the device serialises the calls.

    The calling thread is worker 0. The others join submissions that have more than one workgroup
    to share; whoever is late finds nothing left to do.

    Args:
        memory: Shared, if there is more than one worker.
        suballocator: Of that memory.
        counters: Of the device.
        watchdog: Ends what runs in the engine when its call has to end.
        worker_count: 1 or more.

    Attributes:
        workers: By index.
    """

    __slots__ = (
        "__weakref__",
        "_counters",
        "_current",
        "_helpers",
        "_is_cancelled",
        "_loading",
        "_local_memory_byte_length",
        "_memory",
        "_suballocator",
        "_unsettled",
        "_watchdog",
        "workers",
    )

    def __init__(
        self,
        memory: GuestMemory,
        suballocator: Suballocator,
        counters: Counters,
        watchdog: Watchdog,
        worker_count: int,
    ) -> None:
        self._memory = memory
        self._suballocator = suballocator
        self._counters = counters
        self.workers = tuple(
            Worker(index, memory, suballocator, counters) for index in range(worker_count)
        )
        self._watchdog = watchdog
        watchdog.attach(self.cancel)
        self._local_memory_byte_length = 0
        self._current: Submission | None = None
        self._unsettled: Submission | None = None  # what has neither ended well nor been recovered
        self._loading: Instance | None = None
        self._is_cancelled = False
        self._helpers = Helpers(memory, suballocator, self.workers) if worker_count > 1 else None

    def call(self, instance: Instance, function: WasmFunction, *arguments: int) -> int | None:
        """Calls a function of a module that is being loaded.

        Raises:
            TrapError: The code trapped.
            InterruptedCallError: ``cancel`` was called, or the call that loads it has ended.
        """
        self._loading = instance
        try:
            with self._memory.in_use:
                try:
                    self._watchdog.begin()
                    return function(*arguments)
                finally:
                    self._watchdog.end()
        except InterruptedCallError as error:
            raise self._watchdog.end_of(error, "while a kernel module was loaded") from error
        finally:
            self._loading = None

    def settle(self) -> None:
        """Recovers from a submission of which Ctrl-C left it undone.

        Before the next one is written: it may be the same, and a helper still inside.
        """
        if self._unsettled is not None:
            self._recover(self._unsettled)

    def execute(self, submission: Submission) -> None:
        """Executes a submission whose block and binding table are written, after ``settle``.

        Raises:
            TrapError: A kernel trapped; names the kernel.
            InvocationError: A kernel failed, or a command cannot be executed.
            InterruptedCallError: As ``call``; names the kernel, if one began.
            LimitError: Out of linear memory for workgroup-local memory.
        """
        if submission.local_memory_byte_length > self._local_memory_byte_length:
            self._reserve_local_memory(submission.local_memory_byte_length)
        self._is_cancelled = False
        watchdog, in_use = self._watchdog, self._memory.in_use
        try:
            if not in_use.acquire(False):
                in_use.wait()
            try:
                watchdog.begin()  # first: what it may still be about to end is not this
                self._current = self._unsettled = submission
                result = self._run(submission)
            finally:
                watchdog.end()
        except (TrapError, InterruptedCallError) as error:
            if self._unsettled is None:
                raise  # it has not begun
            self._recover(submission)
            raise self._named(error, submission) from error
        except BaseException:  # Ctrl-C as well: the other workers must not go on; raised again
            self._recover(submission)
            raise
        finally:
            try:  # noqa: SIM105 - as PatientLock says
                in_use.release()
            except RuntimeError:
                pass
            self._current = None
        if result != Result.COMPLETE:
            self._recover(submission)
            raise self._failure(result, submission)
        if self._is_cancelled and self._helpers is not None:
            # Too late for this submission. A helper that has not met it yet would in the next.
            self._helpers.evict()
        self._unsettled = None

    def cancel(self) -> None:
        """Ends what is running, from any thread; nothing otherwise.

        Raises:
            EngineError: The engine cannot end a running kernel.
        """
        submission = self._current
        running = [self._loading]
        if submission is not None:
            self._is_cancelled = True
            self._stop(submission)
            running += [worker.running for worker in self._present_workers()]
        for instance in running:
            if instance is not None:
                instance.interrupt()

    def stop(self) -> None:
        """Lets the helpers' threads end. Idempotent."""
        if self._helpers is not None:
            self._helpers.stop()

    def close(self) -> None:
        """Ends the helpers' threads and waits for them, before the memory is closed. Idempotent."""
        if self._helpers is not None:
            self._helpers.close()

    def _run(self, submission: Submission) -> int | None:
        helpers = self._helpers
        if helpers is None or submission.max_workgroup_count <= 1 or not helpers.are_here:
            return self._check_stop(self._run_alone(submission), submission)
        sharing = submission.sharing
        is_shared = sharing.is_worthwhile
        start = time.perf_counter()
        result = self._run_shared(submission, helpers) if is_shared else self._run_alone(submission)
        sharing.note(time.perf_counter() - start)
        return self._check_stop(result, submission)

    def _run_alone(self, submission: Submission) -> int | None:
        if self._helpers is not None:
            # There is nobody to notify at the ends of phases, which is a call into the engine.
            start = submission.submission_ptr + _WORKER_COUNT_OFFSET
            self._memory.view[start : start + 4] = _ONE
        return self.workers[0].run(submission)

    def _run_shared(self, submission: Submission, helpers: Helpers) -> int | None:
        result: int | None = None
        try:
            helpers.begin(submission)
            result = self.workers[0].run(submission, helpers.mailbox_ptr)
        except InterruptedCallError:
            error = helpers.end()
            if error is None:
                raise
        except BaseException:  # Ctrl-C as well; raised again
            helpers.end()
            raise
        else:
            error = helpers.end()
        if error is not None:
            raise error
        for worker in self.workers[1:]:
            worker.check_stack()
        return result

    def _present_workers(self) -> tuple[Worker, ...]:
        """Those whose threads are in this process."""
        is_alone = self._helpers is not None and not self._helpers.are_here
        return self.workers[:1] if is_alone else self.workers

    def _check_stop(self, result: int | None, submission: Submission) -> int | None:
        """Raises InterruptedCallError if ``cancel`` came where no code ran to be interrupted."""
        if result == Result.STOPPED and self._report(submission).status is Status.OK:
            raise InterruptedCallError("execution was interrupted")
        return result

    def _report(self, submission: Submission) -> SubmissionReport:
        start = submission.submission_ptr
        return decode_submission_block(
            self._memory.view[start : start + SUBMISSION_BLOCK.byte_length]
        )

    def _stop(self, submission: Submission) -> None:
        start = submission.submission_ptr + _STOP_OFFSET
        self._memory.view[start : start + 4] = _STOP

    def _reserve_local_memory(self, byte_length: int) -> None:
        if self._helpers is not None:
            self._helpers.evict()  # one that comes late would go on with what it had before
        for worker in self.workers:
            worker.set_local_memory(self._suballocator.allocate(byte_length))
        self._local_memory_byte_length = byte_length

    def _recover(self, submission: Submission) -> None:
        """Makes workers and instances usable again after a failed submission.

        Ctrl-C is raised when that is done: a helper that is left in a kernel would write into
        memory that others are given next.
        """
        interrupt: KeyboardInterrupt | None = None
        while self._unsettled is not None:
            try:
                self._settle(submission)
                self._unsettled = None
            except KeyboardInterrupt as error:
                interrupt = error
        if interrupt is not None:
            raise interrupt

    def _settle(self, submission: Submission) -> None:
        self._stop(submission)
        if self._helpers is not None:
            self._helpers.evict()
        for worker in self._present_workers():
            worker.write_canary()
            for executable in submission.executables.values():
                executable.entries[worker.index].reset()

    def _failure(self, result: int | None, submission: Submission) -> Exception:
        """What a result other than COMPLETE means."""
        report = self._report(submission)
        if report.status is Status.OK or result not in {Result.FAILED, Result.STOPPED}:
            return overwritten_error(f"it ended with result {result}, status {report.status.name}")
        command = submission.command_name(report.command_index)
        if report.status is Status.KERNEL_FAILED:
            where = ",".join(map(str, report.workgroup_id))
            return invocation_error(
                StatusCode.INTERNAL,
                f"kernel {command!r} returned {report.kernel_result} in workgroup {where}",
            )
        return invocation_error(
            StatusCode.ABORTED,
            f"command {report.command_index} ({command}): {_STATUS_TEXT[report.status]}",
        )

    def _named(
        self, error: TrapError | InterruptedCallError, submission: Submission
    ) -> TrapError | InterruptedCallError:
        """The engine's error with the kernel's name in it, and why the call was interrupted."""
        if isinstance(error, TrapError):
            kernel = next((frame for frame in error.frames if frame in submission.names), None)
            kernel = kernel or submission.started_command()
            message = f"kernel {kernel!r} trapped: {error.kind} ({error})"
            return TrapError(message, kind=error.kind, frames=error.frames)
        where = f"in kernel {submission.started_command()!r}"
        return self._watchdog.end_of(InterruptedCallError(f"{error} ({where})"), where)
