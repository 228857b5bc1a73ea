"""The command stream: what a recorded command buffer is in linear memory, byte by byte.

Four little-endian structures, all 8-byte aligned, all in the one linear memory:

* the **stream**: the commands of one command buffer. Written once, read-only afterwards; it is
  position-independent and may be executed by any number of workers, at once and again and again.
* the **binding table**: one entry (guest address, byte length) per slot.
* the **submission block**: what changes during one execution of a stream: failure report, stop
  flag, one claim counter per command, one state word per phase. All zero but the fields that
  `encode_submission_block` sets.
* the **worker block**: what belongs to one worker: IREE's dispatch and workgroup state (v0),
  resolved binding pointers, the place to resume at (`stream_worker`).

A stream is a sequence of phases. Each begins with a PHASE command; commands of one phase may run
concurrently, commands of the next start after all of them are done. END closes the last one.
Addresses and lengths are 64-bit in all of these, for 32-bit memories too, so that the layout does
not depend on the pointer width; only IREE's own structures in the worker block do.

How the executor walks it is described in `executor`; docs/command-stream.md has both.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from iree_wasm_hal.errors import ArgumentError, InternalError

__all__ = [
    "BINDING_REF",
    "BINDING_TABLE_ENTRY",
    "COMMAND_HEADER",
    "COPY_COMMAND",
    "DISPATCH_COMMAND",
    "FILL_COMMAND",
    "MAX_BINDING_COUNT",
    "MAX_CONSTANT_COUNT",
    "MAX_WORKGROUP_COUNT",
    "PHASE_COMMAND",
    "SUBMISSION_BLOCK",
    "UPDATE_COMMAND",
    "WHOLE_BUFFER",
    "BindingRef",
    "Field",
    "Opcode",
    "Result",
    "Status",
    "Struct",
    "SubmissionReport",
    "decode_submission_block",
    "encode_binding_table",
    "encode_submission_block",
]

MAX_CONSTANT_COUNT = 64
"""IREE_HAL_EXECUTABLE_MAX_CONSTANT_COUNT (iree/hal/local/executable_library.h)."""
MAX_BINDING_COUNT = 64
"""IREE_HAL_EXECUTABLE_MAX_BINDING_COUNT (iree/hal/local/executable_library.h)."""
MAX_WORKGROUP_COUNT = 1 << 30
"""Workgroups of one dispatch: the 32-bit claim counter must not wrap when workers overshoot."""
WHOLE_BUFFER = (1 << 64) - 1
"""Byte length of a `BindingRef` that means: from the offset to the end of the slot's buffer."""


class Opcode(IntEnum):
    """First word of a command."""

    END = 0
    PHASE = 1
    DISPATCH = 2
    FILL = 3
    COPY = 4
    UPDATE = 5


class Result(IntEnum):
    """What ``iree_wasm_execute``, ``_submit`` and ``_serve`` return."""

    COMPLETE = 0
    """Every command is done."""
    SWITCH = 1
    """The next command needs another executable: call the module whose index stands in the worker
    block's ``required_executable``, with the same two blocks, after writing that index to
    ``executable_index``."""
    STOPPED = 2
    """The stop flag was seen. Status says whether another worker failed or the host set it."""
    FAILED = 3
    """This worker met a failure and reported it in the submission block."""
    YIELD = 4
    """Others are still busy and this memory cannot wait (it is not shared): give the processor
    away, then call again with the same blocks."""
    IDLE = 5
    """``iree_wasm_serve`` only: there was nothing to do, or the host asked the helper to leave."""


class Status(IntEnum):
    """First failure of a submission (``status`` in the submission block)."""

    OK = 0
    KERNEL_FAILED = 1
    """A kernel returned non-zero."""
    BAD_COMMAND = 2
    """A command with an unknown opcode."""
    LOCAL_MEMORY = 3
    """A dispatch needs more workgroup-local memory than the worker block has."""
    WORKGROUP_COUNT = 4
    """An indirect workgroup count is above its limit (z: 65535, product: MAX_WORKGROUP_COUNT)."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a structure: its byte offset and ``struct`` format character."""

    name: str
    byte_offset: int
    format: str

    @property
    def byte_length(self) -> int:
        """Bytes the field takes."""
        return struct.calcsize("<" + self.format)


class Struct:
    """A little-endian structure with named fields, naturally aligned.

    Args:
        name: For messages and docs.
        spec: ``"format name"`` per field in order; a gap that alignment leaves is padding.
        byte_length: The expected size, asserted.
    """

    def __init__(self, name: str, spec: tuple[str, ...], byte_length: int) -> None:
        self.name = name
        self.fields: dict[str, Field] = {}
        cursor = 0
        layout = "<"
        for line in spec:
            format_character, field_name = line.split()
            size = struct.calcsize("<" + format_character)
            layout += f"{-cursor % size}x{format_character}"
            cursor += -cursor % size
            self.fields[field_name] = Field(field_name, cursor, format_character)
            cursor += size
        if not cursor <= byte_length < cursor + 8:
            raise InternalError(f"{name} takes {cursor} bytes, expected {byte_length}")
        self.byte_length = byte_length
        self._packer = struct.Struct(f"{layout}{byte_length - cursor}x")
        self._zeros = (0,) * len(self.fields)

    def pack(self, **values: int) -> bytes:
        """The structure's bytes; fields that are not given are zero."""
        if not values.keys() <= self.fields.keys():
            raise KeyError(f"{self.name} has no field {sorted(values.keys() - self.fields.keys())}")
        # One call for all fields: programs with dynamic shapes record their commands on every call.
        return self._packer.pack(*map(values.get, self.fields, self._zeros))

    def pack_all(self, *values: int) -> bytes:
        """The structure's bytes, from the values of all fields in order."""
        return self._packer.pack(*values)

    def unpack(self, data: bytes | bytearray | memoryview, byte_offset: int = 0) -> dict[str, int]:
        """All fields by name."""
        return {
            field.name: struct.unpack_from(
                "<" + field.format, data, byte_offset + field.byte_offset
            )[0]
            for field in self.fields.values()
        }

    def offset(self, name: str) -> int:
        """Byte offset of a field."""
        return self.fields[name].byte_offset


BINDING_REF = Struct("binding reference", ("i slot", "Q byte_offset", "Q byte_length"), 24)
BINDING_TABLE_ENTRY = Struct("binding table entry", ("Q address", "Q byte_length"), 16)

_HEADER = ("I opcode", "I byte_length", "I command_index", "I counter_offset")
COMMAND_HEADER = Struct("command header", _HEADER, 16)
PHASE_COMMAND = Struct("PHASE command", (*_HEADER, "I next_phase_offset"), 24)
FILL_COMMAND = Struct(
    "FILL command",
    (*_HEADER, "i target_slot", "Q target_byte_offset", "Q target_byte_length", "Q pattern"),
    48,
)
COPY_COMMAND = Struct(
    "COPY command",
    (
        *_HEADER,
        *("i source_slot", "Q source_byte_offset", "Q source_byte_length"),
        *("i target_slot", "Q target_byte_offset", "Q target_byte_length"),
    ),
    64,
)
UPDATE_COMMAND = Struct(
    "UPDATE command",
    (*_HEADER, "i target_slot", "Q target_byte_offset", "Q target_byte_length"),
    40,
)
DISPATCH_COMMAND = Struct(
    "DISPATCH command",
    (
        *_HEADER,
        *("I executable_index", "I function_table_index", "Q environment_address"),
        *("I workgroup_size_x", "I workgroup_size_y", "H workgroup_size_z", "H constant_count"),
        *("I workgroup_count_x", "I workgroup_count_y", "I workgroup_count_z"),
        *("I local_memory_byte_length", "I binding_count", "I bindings_offset", "I indirect"),
        *("i count_slot", "Q count_byte_offset", "Q count_byte_length"),
    ),
    96,
)

SUBMISSION_BLOCK = Struct(
    "submission block",
    (
        *("I status", "I stop"),
        *("I failed_command_index", "I failed_workgroup_x", "I failed_workgroup_y"),
        *("I failed_workgroup_z", "i kernel_result", "I phase_cursor"),
        *("I worker_count", "I spin_limit"),
        *("Q stream_address", "Q binding_table_address", "I binding_table_count"),
    ),
    64,
)


class BindingRef(NamedTuple):
    """A range of a buffer, as commands name it.

    Attributes:
        slot: Binding table slot, or -1 for a direct reference.
        byte_offset: From the slot's address; for a direct reference the guest address itself.
        byte_length: Bytes, or `WHOLE_BUFFER` (fill targets and dispatch bindings of a slot only).
    """

    slot: int
    byte_offset: int
    byte_length: int


@dataclass(frozen=True, slots=True)
class SubmissionReport:
    """What the submission block says after an execution."""

    status: Status
    stop: int
    command_index: int
    workgroup_id: tuple[int, int, int]
    kernel_result: int


def encode_binding_table(entries: list[tuple[int, int]]) -> bytes:
    """The binding table of (guest address, byte length) pairs, slot 0 first."""
    return b"".join(
        BINDING_TABLE_ENTRY.pack(address=address, byte_length=byte_length)
        for address, byte_length in entries
    )


def encode_submission_block(
    *,
    byte_length: int,
    stream_address: int,
    binding_table_address: int = 0,
    binding_table_count: int = 0,
    worker_count: int = 1,
    spin_limit: int = 0,
) -> bytes:
    """A fresh submission block, to be written before every execution.

    Args:
        byte_length: ``EncodedStream.submission_block_byte_length``.
        stream_address: Guest address of the stream, a multiple of 8.
        binding_table_address: Guest address of the binding table, a multiple of 8.
        binding_table_count: Its slots.
        worker_count: Workers that may call ``iree_wasm_execute``; fewer may come.
        spin_limit: Polls of a busy phase before a worker sleeps; 0 where workers share cores.

    Raises:
        ArgumentError: An address is not aligned or there is no worker.
    """
    if stream_address % 8 or binding_table_address % 8:
        raise ArgumentError(
            f"submission block: stream at {stream_address:#x} and binding table at "
            f"{binding_table_address:#x} must be multiples of 8"
        )
    if worker_count < 1:
        raise ArgumentError(f"submission block: worker_count is {worker_count}, expected 1 or more")
    header = SUBMISSION_BLOCK.pack(
        stream_address=stream_address,
        binding_table_address=binding_table_address,
        binding_table_count=binding_table_count,
        worker_count=worker_count,
        spin_limit=spin_limit,
    )
    return header + bytes(byte_length - len(header))


def decode_submission_block(data: bytes | bytearray | memoryview) -> SubmissionReport:
    """The report in a submission block (its first 64 bytes are enough).

    A status outside `Status` (kernels can scribble over the block) reads as BAD_COMMAND.
    """
    block = SUBMISSION_BLOCK.unpack(data)
    known = block["status"] in Status._value2member_map_
    return SubmissionReport(
        status=Status(block["status"]) if known else Status.BAD_COMMAND,
        stop=block["stop"],
        command_index=block["failed_command_index"],
        workgroup_id=(
            block["failed_workgroup_x"],
            block["failed_workgroup_y"],
            block["failed_workgroup_z"],
        ),
        kernel_result=block["kernel_result"],
    )
