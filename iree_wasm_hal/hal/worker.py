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

_CANARY = struct.Struct("<QQ")
_CANARY_VALUE = (0x6C61_6E72_656B_2121, 0x9E37_79B9_7F4A_7C15)


class Worker:
    """The engine-side state of one thread; runs one submission at a time.

    Attributes:
        index: 0 for the thread that submits.
        stack_pointer: Initial value of a module's stack pointer.
        running: Instance whose code runs now, for interruption from another thread.
        counters: What its calls are counted in.
    """

    __slots__ = (
        "_block",
        "_layout",
        "_local_memory",
        "_memory",
        "_stack",
        "_template",
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
        self._local_memory: Block | None = None
        self._template: dict[int, bytes] = {}
        self.running: Instance | None = None
        self.write_canary()

    def set_local_memory(self, block: Block) -> None:
        """Gives it workgroup-local memory of its own."""
        self._local_memory = block
        self._template.clear()

    def run(self, submission: Submission) -> int | None:
        """Takes part in a submission until nothing is left to do for this worker.

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
        block_ptr = self._block.guest_ptr
        view = self._memory.view
        template = self._template.get(executable.index) or self._make_template(executable.index)
        view[block_ptr : block_ptr + len(template)] = template
        submission_ptr = submission.submission_ptr
        entry = executable.entries[self.index]
        try:
            self.running = entry.instance
            result = entry.execute(submission_ptr, block_ptr)
            switches_left = submission.command_count
            while result == Result.SWITCH:
                if not switches_left:  # each switch is followed by a command
                    raise overwritten_error("it switches executables without end")
                switches_left -= 1
                entry = self._switch(submission).entries[self.index]
                self.running = entry.instance
                result = entry.execute(submission_ptr, block_ptr)
        finally:
            self.running = None
        if _CANARY.unpack_from(view, self._stack.guest_ptr) != _CANARY_VALUE:
            raise TrapError(
                f"kernels overflowed their stack of {STACK_BYTE_LENGTH} bytes; the results of "
                "this submission are undefined",
                kind="stack overflow",
            )
        return result

    def write_canary(self) -> None:
        """Writes the lowest bytes of the stack, which an overflow overwrites first."""
        _CANARY.pack_into(self._memory.view, self._stack.guest_ptr, *_CANARY_VALUE)

    def _make_template(self, executable_index: int) -> bytes:
        local = self._local_memory
        template = self._layout.encode(
            worker_index=self.index,
            executable_index=executable_index,
            local_memory_address=local.guest_ptr if local else 0,
            local_memory_byte_length=local.byte_length if local else 0,
        )
        self._template[executable_index] = template
        return template

    def _switch(self, submission: Submission) -> Executable:
        """Finds the executable that the stream goes on with."""
        self.counters.executable_switches += 1
        self.counters.engine_calls += 1
        header = self._layout.header
        view = self._memory.view
        block_ptr = self._block.guest_ptr
        index = struct.unpack_from("<I", view, block_ptr + header.offset("required_executable"))[0]
        executable = submission.executables.get(index)
        if executable is None:
            raise overwritten_error(f"it asks for executable {index}, which it does not use")
        struct.pack_into("<I", view, block_ptr + header.offset("executable_index"), index)
        return executable


def overwritten_error(how: str) -> InvocationError:
    """The error for execution state in guest memory that only a kernel can have changed."""
    return invocation_error(
        StatusCode.ABORTED,
        f"the state of a submission was overwritten: {how}; a kernel wrote outside its buffers",
    )
