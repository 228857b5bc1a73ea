"""A worker: the stack, scratch memory and block of one thread of execution.

The first worker's stack is the first block of the memory: an overflow meets the canary, then 64
KiB that nobody uses, then address 0 and a trap.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from iree_wasm_hal.errors import InternalError, InvocationError, TrapError
from iree_wasm_hal.status import StatusCode, invocation_error
from iree_wasm_hal.wasm.stream import Result
from iree_wasm_hal.wasm.stream_worker import worker_block_layout

if TYPE_CHECKING:
    from iree_wasm_hal.engine.contract import Instance
    from iree_wasm_hal.hal.executable import Executable
    from iree_wasm_hal.hal.guest_memory import GuestMemory
    from iree_wasm_hal.hal.statistics import Counters
    from iree_wasm_hal.hal.suballocator import Block, Suballocator
    from iree_wasm_hal.hal.submission import Submission

__all__ = ["STACK_BYTE_LENGTH", "Worker", "overwritten_error"]

STACK_BYTE_LENGTH = 1 << 20
"""Shadow stack of a worker. Kernels keep their large temporaries in workgroup-local memory or
small stack slots (the compiler's own limit is 32 KiB)."""

_MAX_HEADERS = 64

_U32 = struct.Struct("<I")
_CANARY = struct.Struct("<QQ")
_CANARY_VALUE = (0x6C61_6E72_656B_2121, 0x9E37_79B9_7F4A_7C15)


class Worker:
    """The engine-side state of one thread; runs one submission at a time.

    Attributes:
        index: 0 for the thread that submits.
        block_ptr: Guest address of its worker block.
        stack_pointer: Initial value of a module's stack pointer.
        running: Instance whose code runs now, for interruption from another thread.
        counters: What its calls are counted in.
    """

    __slots__ = (
        "_block",
        "_headers",
        "_layout",
        "_local_memory",
        "_memory",
        "_stack",
        "block_ptr",
        "counters",
        "index",
        "running",
        "stack_pointer",
    )

    def __init__(
        self, index: int, memory: GuestMemory, suballocator: Suballocator, counters: Counters
    ) -> None:
        self.index = index
        self.counters = counters
        self._memory = memory
        self._stack = suballocator.allocate(STACK_BYTE_LENGTH)
        self.stack_pointer = self._stack.guest_ptr + STACK_BYTE_LENGTH
        self._layout = worker_block_layout(8 if memory.type.index64 else 4)
        self._block = suballocator.allocate(self._layout.byte_length)
        self.block_ptr = self._block.guest_ptr
        self._local_memory: Block | None = None
        self._headers: dict[int, bytes] = {}
        self.running: Instance | None = None
        self.write_canary()

    def set_local_memory(self, block: Block) -> None:
        """Gives it workgroup-local memory of its own; it is outside of wasm meanwhile."""
        self._local_memory = block
        self._headers.clear()

    def run(self, submission: Submission, mailbox_ptr: int = 0) -> int | None:
        """Executes a submission: until nothing is left to do for this worker.

        Args:
            submission: Written.
            mailbox_ptr: Guest address of the mailbox by which helpers join; 0 for none.

        Returns:
            The executor's last result, any but SWITCH.

        Raises:
            TrapError: A kernel trapped, or overflowed its stack.
            InterruptedCallError: The call was interrupted.
            InvocationError: The submission's state was overwritten.
        """
        counters = self.counters
        counters.engine_calls += 1
        executable = submission.first_executable
        if executable is None:
            raise InternalError("execution of a command stream without an executor")
        block_ptr = self.block_ptr
        submission_ptr = submission.submission_ptr
        self.write_header(executable.index)
        switches_left = submission.command_count
        try:
            while True:
                entry = executable.entries[self.index]
                self.running = entry.instance
                if mailbox_ptr:
                    result = entry.submit(mailbox_ptr, submission_ptr, block_ptr)
                else:
                    result = entry.execute(submission_ptr, block_ptr)
                if result != Result.SWITCH:
                    break
                if not switches_left:  # each switch is followed by a command
                    raise overwritten_error("it switches executables without end")
                switches_left -= 1
                executable = self._switch(submission)
        finally:
            self.running = None
        self.check_stack()
        return result

    def write_header(self, executable_index: int, *, keep_place: bool = False) -> None:
        """Writes the header of the worker block for the module about to be called.

        Args:
            executable_index: Index of that module.
            keep_place: Whether the worker goes on where it returned SWITCH.
        """
        view, block_ptr = self._memory.view, self.block_ptr
        if keep_place:
            offset = block_ptr + self._layout.header.offset("executable_index")
            _U32.pack_into(view, offset, executable_index)
            return
        header = self._headers.get(executable_index) or self._make_header(executable_index)
        view[block_ptr : block_ptr + len(header)] = header

    def required_executable(self) -> int:
        """Index of the module that the worker goes on in, after SWITCH."""
        offset = self.block_ptr + self._layout.header.offset("required_executable")
        index: int = _U32.unpack_from(self._memory.view, offset)[0]
        return index

    def check_stack(self) -> None:
        """Checks that no kernel overflowed the stack.

        Raises:
            TrapError: One did.
        """
        if _CANARY.unpack_from(self._memory.view, self._stack.guest_ptr) != _CANARY_VALUE:
            raise TrapError(
                f"kernels overflowed their stack of {STACK_BYTE_LENGTH} bytes; the results of "
                "this submission are undefined",
                kind="stack overflow",
            )

    def write_canary(self) -> None:
        """Writes the lowest bytes of the stack, which an overflow overwrites first."""
        _CANARY.pack_into(self._memory.view, self._stack.guest_ptr, *_CANARY_VALUE)

    def _make_header(self, executable_index: int) -> bytes:
        local = self._local_memory
        header = self._layout.header.pack(
            worker_index=self.index,
            executable_index=executable_index,
            local_memory_address=local.guest_ptr if local else 0,
            local_memory_byte_length=local.byte_length if local else 0,
        )
        if len(self._headers) >= _MAX_HEADERS:
            self._headers.clear()  # most are of executables that are gone
        self._headers[executable_index] = header
        return header

    def _switch(self, submission: Submission) -> Executable:
        """Finds the executable that the stream goes on with."""
        self.counters.executable_switches += 1
        self.counters.engine_calls += 1
        index = self.required_executable()
        executable = submission.executables.get(index)
        if executable is None:
            raise overwritten_error(f"it asks for executable {index}, which it does not use")
        self.write_header(index, keep_place=True)
        return executable


def overwritten_error(how: str) -> InvocationError:
    """The error for execution state in guest memory that only a kernel can have changed."""
    return invocation_error(
        StatusCode.ABORTED,
        f"the state of a submission was overwritten: {how}; a kernel wrote outside its buffers",
    )
