"""A finalized command stream in linear memory, and what each execution of it writes."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from iree_wasm_hal.hal.buffer import WHOLE_BUFFER
from iree_wasm_hal.hal.sharing import Sharing
from iree_wasm_hal.hal.threads import spin_limit
from iree_wasm_hal.status import StatusCode, invocation_error
from iree_wasm_hal.wasm.stream import (
    BINDING_TABLE_ENTRY,
    COMMAND_HEADER,
    Opcode,
    encode_submission_block,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from iree_wasm_hal.errors import InvocationError
    from iree_wasm_hal.hal.buffer import Buffer
    from iree_wasm_hal.hal.executable import Executable
    from iree_wasm_hal.hal.guest_memory import GuestMemory
    from iree_wasm_hal.hal.suballocator import Suballocator
    from iree_wasm_hal.wasm.stream_builder import EncodedStream

__all__ = ["Binding", "Submission", "other_device_error"]

Binding = tuple["Buffer | None", int, int]
"""Binding table slot: buffer or None, byte offset, byte length (-1 is the whole rest)."""

_HEADER = struct.Struct("<4I")
if _HEADER.size != COMMAND_HEADER.byte_length or BINDING_TABLE_ENTRY.byte_length != 16:
    raise AssertionError("BUG: the command stream's layout is another one")


class Submission:
    """The stream, its submission block and its binding table, one after the other in memory.

    Only the block and the table are written for an execution. The device serialises executions.

    Attributes:
        executables: Those that the dispatches use, by their index on the device.
        first_executable: The one whose executor starts the stream; None without a dispatch.
        submission_ptr: Guest address of the submission block.
        command_count: Recorded commands, barriers and debug groups aside.
        dispatch_count: Dispatches among them.
        local_memory_byte_length: Workgroup-local memory that a worker needs.
        max_workgroup_count: Of any dispatch; an indirect one counts as many.
        names: Per command: a kernel's name, or ``fill``, ``copy``, ``update``.
        sharing: Whether helpers are of use to it.
    """

    __slots__ = (
        "_block",
        "_memory",
        "_prefix",
        "_requirements",
        "_stream",
        "_table",
        "command_count",
        "dispatch_count",
        "executables",
        "first_executable",
        "local_memory_byte_length",
        "max_workgroup_count",
        "names",
        "sharing",
        "submission_ptr",
    )

    def __init__(
        self,
        encoded: EncodedStream,
        memory: GuestMemory,
        suballocator: Suballocator,
        *,
        executables: Mapping[int, Executable],
        first_executable: Executable | None,
        names: Sequence[str],
        max_workgroup_count: int,
        worker_count: int,
    ) -> None:
        self._memory = memory
        self._stream = encoded.data
        self.executables = executables
        self.first_executable = first_executable
        self.names = names
        self.sharing = Sharing()
        self.max_workgroup_count = max_workgroup_count
        self.command_count = encoded.command_count
        self.dispatch_count = encoded.dispatch_count
        self.local_memory_byte_length = encoded.local_memory_byte_length
        needs = encoded.slot_requirements
        # -1 for slots that no command names: what they hold does not matter.
        slots = range(max(needs, default=-1) + 1)
        self._requirements = tuple(needs.get(slot, -1) for slot in slots)
        self._table = struct.Struct(f"<{2 * len(self._requirements)}Q")
        stream_length = -(-len(encoded.data) // 64) * 64
        block_length = -(-encoded.submission_block_byte_length // 16) * 16
        self._block = suballocator.allocate(stream_length + block_length + self._table.size)
        start = self._block.guest_ptr
        memory.view[start : start + len(encoded.data)] = encoded.data
        self.submission_ptr = start + stream_length
        self._prefix = encode_submission_block(
            byte_length=block_length,
            stream_address=start,
            binding_table_address=self.submission_ptr + block_length,
            binding_table_count=len(self._requirements),
            worker_count=worker_count,
            spin_limit=spin_limit(worker_count),
        )

    def write(self, bindings: Sequence[Binding]) -> None:
        """Writes the submission block and the binding table for one execution.

        Raises:
            InvocationError: Too few bindings, a buffer that is missing, deallocated or another
                device's, a range outside its buffer or too short for the commands.
        """
        requirements = self._requirements
        if len(bindings) < len(requirements):
            raise invocation_error(
                StatusCode.INVALID_ARGUMENT,
                f"a command buffer that uses {len(requirements)} binding table slots got "
                f"{len(bindings)} bindings",
            )
        memory = self._memory
        table: list[int] = []
        for (buffer, byte_offset, byte_length), required in zip(
            bindings, requirements, strict=False
        ):
            if buffer is None or required < 0:
                if required > 0:
                    self._explain(bindings)
                table += (0, 0)
                continue
            allocation = buffer.allocation
            block = allocation.block
            available = buffer.byte_length - byte_offset
            if byte_length == WHOLE_BUFFER:
                byte_length = available  # noqa: PLW2901 - the resolved length
            if (
                block is None
                or byte_offset < 0
                or byte_length > available
                or byte_length < required
                or allocation.memory is not memory
            ):
                self._explain(bindings)
                continue
            table += (block.guest_ptr + buffer.byte_offset + byte_offset, byte_length)
        start = self.submission_ptr
        data = self._prefix + self._table.pack(*table)
        memory.view[start : start + len(data)] = data

    def command_name(self, command_index: int) -> str:
        """What a command is: a kernel's name, or ``fill``, ``copy``, ``update``."""
        if 0 <= command_index < len(self.names):
            return self.names[command_index]
        return f"unknown command {command_index}"

    def started_command(self) -> str:
        """The last command that a worker began, from the claim counters of the last execution."""
        stream, view = self._stream, self._memory.view
        last = at = 0
        while at < len(stream):
            opcode, byte_length, index, counter_offset = _HEADER.unpack_from(stream, at)
            if opcode == Opcode.END:
                break
            counter = struct.unpack_from("<I", view, self.submission_ptr + counter_offset)[0]
            if opcode != Opcode.PHASE and counter:
                last = max(last, index)
            at += byte_length
        return self.command_name(last)

    def _explain(self, bindings: Sequence[Binding]) -> None:
        """Raises for the first binding that cannot be used."""
        for slot, required in enumerate(self._requirements):
            buffer, byte_offset, byte_length = bindings[slot]
            if required < 0 or (buffer is None and required == 0):
                continue
            if buffer is None:
                raise invocation_error(
                    StatusCode.INVALID_ARGUMENT,
                    f"binding table slot {slot} needs a buffer of {required} bytes, got none",
                )
            if buffer.allocation.memory is not self._memory:
                raise other_device_error("a buffer")
            buffer.allocation.retain_block()
            if byte_length == WHOLE_BUFFER:
                byte_length = buffer.byte_length - byte_offset
            buffer.check_range(byte_offset, byte_length)
            if byte_length < required:
                raise invocation_error(
                    StatusCode.OUT_OF_RANGE,
                    f"binding table slot {slot} has {byte_length} bytes; the commands reach "
                    f"{required}",
                )


def other_device_error(what: str) -> InvocationError:
    """The error for something whose memory is another device's."""
    return invocation_error(
        StatusCode.INVALID_ARGUMENT,
        f"{what} of another device; each device has a memory of its own, so copy data through "
        "the host and load executables on each",
    )
