"""The workers of a device: the submitting thread and those that help it."""

from __future__ import annotations

import contextlib
import struct
import threading
from typing import TYPE_CHECKING

from iree_wasm_hal.errors import InterruptedCallError, LimitError, TrapError
from iree_wasm_hal.hal.statistics import Counters
from iree_wasm_hal.hal.threads import start_threads
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
    from iree_wasm_hal.hal.suballocator import Suballocator
    from iree_wasm_hal.hal.submission import Submission
    from iree_wasm_hal.hal.watchdog import Watchdog

__all__ = ["WorkerPool"]

_STOP_OFFSET = SUBMISSION_BLOCK.offset("stop")
_STOP = struct.pack("<I", 1)
_NATIVE_STACK_BYTE_LENGTH = 8 << 20
"""Stack of a helper's thread: engines need 2 MiB or more, and some platforms give 128 KiB."""

_STATUS_TEXT = {
    Status.BAD_COMMAND: "its opcode was overwritten; a kernel wrote outside its buffers",
    Status.LOCAL_MEMORY: "workgroup-local memory is too small",
    Status.WORKGROUP_COUNT: "its indirect workgroup count is above the limit",
}


class _Job:
    """A submission that helpers may join.

    Attributes:
        number: Distinguishes jobs without keeping them alive.
        joined_count: Helpers inside.
        error: The first that any worker met.
    """

    __slots__ = ("error", "joined_count", "number", "submission")

    def __init__(self, number: int, submission: Submission) -> None:
        self.number = number
        self.submission = submission
        self.joined_count = 0
        self.error: BaseException | None = None


class WorkerPool:
    """Executes submissions, one at a time: the device serialises the calls.

    The calling thread is worker 0. The others sleep in threads of their own and join submissions
    that have more than one workgroup to share; whoever is late finds nothing left to do.

    Args:
        memory: Shared, if there is more than one worker.
        suballocator: Of that memory.
        counters: Of the device.
        worker_count: 1 or more.

    Attributes:
        workers: By index.
        watchdog: Ends submissions that run too long; None without a deadline.
    """

    __slots__ = (
        "_counters",
        "_current",
        "_done",
        "_helpers",
        "_is_stopping",
        "_job",
        "_job_number",
        "_loading",
        "_local_memory_byte_length",
        "_memory",
        "_suballocator",
        "_work",
        "watchdog",
        "workers",
    )

    def __init__(
        self,
        memory: GuestMemory,
        suballocator: Suballocator,
        counters: Counters,
        worker_count: int,
    ) -> None:
        self._memory = memory
        self._suballocator = suballocator
        self._counters = counters
        # Helpers count for themselves: sums are taken when they are done.
        self.workers = tuple(
            Worker(index, memory, suballocator, Counters() if index else counters)
            for index in range(worker_count)
        )
        self.watchdog: Watchdog | None = None
        self._local_memory_byte_length = 0
        self._current: Submission | None = None
        self._loading: Instance | None = None
        lock = threading.RLock()  # stop() may come from a finalizer, in any thread
        self._work = threading.Condition(lock)
        self._done = threading.Condition(lock)
        self._job: _Job | None = None
        self._job_number = 0
        self._is_stopping = False
        self._helpers = [
            threading.Thread(
                target=self._serve, args=(worker,), name=f"iree-wasm-{worker.index}", daemon=True
            )
            for worker in self.workers[1:]
        ]
        if self._helpers:
            self._start_helpers()

    def call(self, instance: Instance, function: WasmFunction, *arguments: int) -> int | None:
        """Calls a function of a module that is being loaded, under the deadline.

        Raises:
            TrapError: The code trapped.
            InterruptedCallError: The deadline passed or ``cancel`` was called.
        """
        self._loading = instance
        try:
            with self.watchdog.watch(self.cancel) if self.watchdog else contextlib.nullcontext():
                return function(*arguments)
        finally:
            self._loading = None

    def execute(self, submission: Submission) -> None:
        """Executes a submission whose block and binding table are written.

        Raises:
            TrapError: A kernel trapped; names the kernel.
            InvocationError: A kernel failed, or a command cannot be executed.
            InterruptedCallError: As ``call``; names the kernel.
            LimitError: Out of linear memory for workgroup-local memory.
        """
        if submission.local_memory_byte_length > self._local_memory_byte_length:
            self._reserve_local_memory(submission.local_memory_byte_length)
        self._current = submission
        watchdog = self.watchdog
        try:
            if watchdog is None:
                result = self._run(submission)
            else:
                with watchdog.watch(self.cancel):
                    result = self._run(submission)
        except (TrapError, InterruptedCallError) as error:
            self._recover(submission)
            raise _named(error, submission) from error
        except BaseException:  # Ctrl-C as well: the other workers must not go on; raised again
            self._recover(submission)
            raise
        finally:
            self._current = None
        if result != Result.COMPLETE:
            self._recover(submission)
            raise self._failure(result, submission)

    def cancel(self) -> None:
        """Ends what is running, from any thread; nothing otherwise.

        Raises:
            EngineError: The engine cannot end a running kernel.
        """
        submission = self._current
        if submission is not None:
            self._stop(submission)
        for instance in [self._loading, *(worker.running for worker in self.workers)]:
            if instance is not None:
                instance.interrupt()

    def stop(self) -> None:
        """Lets the helpers' threads end. Idempotent."""
        with self._work:
            self._is_stopping = True
            self._work.notify_all()

    def close(self) -> None:
        """Ends the helpers' threads and waits for them. Idempotent."""
        self.stop()
        for helper in self._helpers:
            helper.join()

    def _run(self, submission: Submission) -> int | None:
        if not self._helpers or submission.max_workgroup_count <= 1:
            return self._check_stop(self.workers[0].run(submission), submission)
        with self._work:
            self._job_number += 1
            job = self._job = _Job(self._job_number, submission)
            self._work.notify_all()
        result: int | None = None
        try:
            result = self.workers[0].run(submission)
        except BaseException as error:
            self._fail(job, error)
        with self._work:
            self._job = None
            while job.joined_count:
                self._done.wait()
        for worker in self.workers[1:]:
            self._counters.engine_calls += worker.counters.engine_calls
            self._counters.executable_switches += worker.counters.executable_switches
            worker.counters.engine_calls = worker.counters.executable_switches = 0
        if job.error is not None:
            raise job.error
        return self._check_stop(result, submission)

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

    def _start_helpers(self) -> None:
        previous = threading.stack_size(_NATIVE_STACK_BYTE_LENGTH)
        try:
            start_threads(self._helpers)
        except LimitError:
            self.stop()  # those that were started
            raise
        finally:
            threading.stack_size(previous)

    def _serve(self, worker: Worker) -> None:
        """What a helper's thread does."""
        last_number = 0
        while True:
            with self._work:
                while self._job is None or self._job.number == last_number:
                    if self._is_stopping:
                        return
                    self._work.wait()
                job = self._job
                last_number = job.number
                job.joined_count += 1
            try:
                worker.run(job.submission)
            except BaseException as error:
                self._fail(job, error)
            finally:
                with self._work:
                    job.joined_count -= 1
                    self._done.notify()
                del job  # or the submission would live until the next one

    def _fail(self, job: _Job, error: BaseException) -> None:
        """Notes a worker's error and stops the others."""
        with self._work:
            if job.error is None:
                job.error = error
        self._stop(job.submission)

    def _stop(self, submission: Submission) -> None:
        start = submission.submission_ptr + _STOP_OFFSET
        self._memory.view[start : start + 4] = _STOP

    def _reserve_local_memory(self, byte_length: int) -> None:
        for worker in self.workers:
            worker.set_local_memory(self._suballocator.allocate(byte_length))
        self._local_memory_byte_length = byte_length

    def _recover(self, submission: Submission) -> None:
        """Makes workers and instances usable again after a failed submission."""
        for worker in self.workers:
            worker.write_canary()
        for executable in submission.executables.values():
            executable.reset()

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
    error: TrapError | InterruptedCallError, submission: Submission
) -> TrapError | InterruptedCallError:
    """The engine's error with the kernel's name in it."""
    if isinstance(error, TrapError):
        kernel = next((frame for frame in error.frames if frame in submission.names), None)
        kernel = kernel or submission.started_command()
        message = f"kernel {kernel!r} trapped: {error.kind} ({error})"
        return TrapError(message, kind=error.kind, frames=error.frames)
    return InterruptedCallError(f"{error} (in kernel {submission.started_command()!r})")
