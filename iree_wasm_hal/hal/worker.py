"""A worker: the stack, scratch memory and blocks of one thread of execution."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from iree_wasm_hal.errors import InternalError, InterruptedCallError, InvocationError, TrapError
from iree_wasm_hal.hal.status import StatusCode, invocation_error
from iree_wasm_hal.wasm.stream import (
    SUBMISSION_BLOCK,
    Result,
    Status,
    decode_submission_block,
)
from iree_wasm_hal.wasm.stream_worker import worker_block_layout

if TYPE_CHECKING:
    from iree_wasm_hal.engine.contract import Instance, WasmFunction
    from iree_wasm_hal.hal.executable import Executable
    from iree_wasm_hal.hal.guest_memory import GuestMemory
    from iree_wasm_hal.hal.statistics import Counters
    from iree_wasm_hal.hal.suballocator import Block, Suballocator
    from iree_wasm_hal.hal.submission import Submission
    from iree_wasm_hal.hal.watchdog import Watchdog

__all__ = ["STACK_BYTE_LENGTH", "Worker"]

STACK_BYTE_LENGTH = 1 << 20
"""Shadow stack of a worker. Kernels keep their large temporaries in workgroup-local memory or
small stack slots (the compiler's own limit is 32 KiB)."""

_CANARY = struct.Struct("<QQ")
_CANARY_VALUE = (0x6C61_6E72_656B_2121, 0x9E37_79B9_7F4A_7C15)
_STATUS_TEXT = {
    Status.BAD_COMMAND: "its opcode was overwritten; a kernel wrote outside its buffers",
    Status.LOCAL_MEMORY: "workgroup-local memory is too small",
    Status.WORKGROUP_COUNT: "its indirect workgroup count is above the limit",
}


class Worker:
    """Runs submissions on the calling thread, one at a time (the device serialises them).

    The stack is the first block of the memory: an overflow meets the canary, then 64 KiB that
    nobody uses, then address 0 and a trap.

    Attributes:
        stack_pointer: Initial value of a module's stack pointer.
        watchdog: Ends calls that run too long; None without a deadline.
        running: Instance whose code runs now, for ``Device.interrupt``.
    """

    __slots__ = (
        "_block",
        "_counters",
        "_header_offset",
        "_layout",
        "_local_memory",
        "_memory",
        "_stack",
        "_suballocator",
        "_template",
        "running",
        "stack_pointer",
        "watchdog",
    )

    def __init__(self, memory: GuestMemory, suballocator: Suballocator, counters: Counters) -> None:
        self._memory = memory
        self._suballocator = suballocator
        self._counters = counters
        self._stack = suballocator.allocate(STACK_BYTE_LENGTH)
        self.stack_pointer = self._stack.guest_ptr + STACK_BYTE_LENGTH
        self._layout = worker_block_layout(8 if memory.type.index64 else 4)
        self._block = suballocator.allocate(self._layout.byte_length)
        self._local_memory: Block | None = None
        self._template: dict[int, bytes] = {}
        self.watchdog: Watchdog | None = None
        self.running: Instance | None = None
        self._write_canary()

    def _reserve_local_memory(self, byte_length: int) -> None:
        """Makes the workgroup-local memory at least this large."""
        if self._local_memory is None or self._local_memory.byte_length < byte_length:
            self._local_memory = self._suballocator.allocate(byte_length)
            self._template.clear()

    def call(self, instance: Instance, function: WasmFunction, *arguments: int) -> int | None:
        """Calls into the engine, under the deadline if there is one.

        Raises:
            TrapError: The code trapped.
            InterruptedCallError: The deadline passed or ``Device.interrupt`` was called.
        """
        self.running = instance
        watchdog = self.watchdog
        try:
            if watchdog is None:
                return function(*arguments)
            with watchdog.watch(instance):
                return function(*arguments)
        finally:
            self.running = None

    def execute(self, submission: Submission) -> None:
        """Executes a submission whose block and binding table are written.

        Raises:
            TrapError: A kernel trapped; names the kernel.
            InvocationError: A kernel failed, or a command cannot be executed.
            InterruptedCallError: As ``call``.
            LimitError: Out of linear memory for workgroup-local memory.
        """
        self._counters.engine_calls += 1
        if submission.local_memory_byte_length:
            self._reserve_local_memory(submission.local_memory_byte_length)
        executable = submission.first_executable
        if executable is None:
            raise InternalError("execution of a command stream without an executor")
        block_ptr = self._block.guest_ptr
        view = self._memory.view
        template = self._template.get(executable.index) or self._make_template(executable.index)
        view[block_ptr : block_ptr + len(template)] = template
        submission_ptr = submission.submission_ptr
        try:
            result = self.call(executable.instance, executable.execute, submission_ptr, block_ptr)
            switches_left = submission.command_count
            while result == Result.SWITCH:
                if not switches_left:  # each switch is followed by a command
                    raise _overwritten("it switches executables without end")
                switches_left -= 1
                executable = self._switch(submission)
                result = self.call(
                    executable.instance, executable.execute, submission_ptr, block_ptr
                )
        except (TrapError, InterruptedCallError) as error:
            self._recover(submission)
            raise _named(error, submission) from error
        if result != Result.COMPLETE:
            self._recover(submission)
            raise _failure(result, submission, view)
        if _CANARY.unpack_from(view, self._stack.guest_ptr) != _CANARY_VALUE:
            self._recover(submission)
            raise TrapError(
                f"kernels overflowed their stack of "
                f"{STACK_BYTE_LENGTH} bytes; the results of this submission are undefined",
                kind="stack overflow",
            )

    def _make_template(self, executable_index: int) -> bytes:
        local = self._local_memory
        template = self._layout.encode(
            worker_index=0,
            executable_index=executable_index,
            local_memory_address=local.guest_ptr if local else 0,
            local_memory_byte_length=local.byte_length if local else 0,
        )
        self._template[executable_index] = template
        return template

    def _switch(self, submission: Submission) -> Executable:
        """Finds the executable that the stream goes on with."""
        self._counters.executable_switches += 1
        self._counters.engine_calls += 1
        header = self._layout.header
        view = self._memory.view
        block_ptr = self._block.guest_ptr
        index = struct.unpack_from("<I", view, block_ptr + header.offset("required_executable"))[0]
        executable = submission.executables.get(index)
        if executable is None:
            raise _overwritten(f"it asks for executable {index}, which it does not use")
        struct.pack_into("<I", view, block_ptr + header.offset("executable_index"), index)
        return executable

    def _recover(self, submission: Submission) -> None:
        """Makes worker and instances usable again after a failed submission."""
        self._write_canary()
        for executable in submission.executables.values():
            executable.reset()

    def _write_canary(self) -> None:
        _CANARY.pack_into(self._memory.view, self._stack.guest_ptr, *_CANARY_VALUE)


def _named(
    error: TrapError | InterruptedCallError, submission: Submission
) -> TrapError | InterruptedCallError:
    """The engine's error with the kernel's name in it."""
    if isinstance(error, TrapError):
        kernel = next((f for f in error.frames if f in submission.names), None)
        kernel = kernel or submission.started_command()
        message = f"kernel {kernel!r} trapped: {error.kind} ({error})"
        return TrapError(message, kind=error.kind, frames=error.frames)
    kernel = submission.started_command()
    return InterruptedCallError(f"{error} (in kernel {kernel!r})")


def _failure(result: int | None, submission: Submission, view: memoryview) -> Exception:
    """What a result other than COMPLETE means."""
    start = submission.submission_ptr
    report = decode_submission_block(view[start : start + SUBMISSION_BLOCK.byte_length])
    if result != Result.FAILED or report.status is Status.OK:
        return _overwritten(f"it ended with result {result} and status {report.status.name}")
    command = submission.command_name(report.command_index)
    where = f"command {report.command_index} ({command})"
    if report.status is Status.KERNEL_FAILED:
        text = f"kernel {command!r} returned {report.kernel_result} in workgroup"
        return invocation_error(
            StatusCode.INTERNAL, f"{text} {','.join(map(str, report.workgroup_id))}"
        )
    return invocation_error(StatusCode.ABORTED, f"{where}: {_STATUS_TEXT[report.status]}")


def _overwritten(how: str) -> InvocationError:
    """The error for execution state in guest memory that only a kernel can have changed."""
    return invocation_error(
        StatusCode.ABORTED,
        f"the state of a submission was overwritten: {how}; a kernel wrote outside its buffers",
    )
