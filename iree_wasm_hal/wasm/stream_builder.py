"""Encodes commands into a stream, with every range checked."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from iree_wasm_hal.errors import ArgumentError
from iree_wasm_hal.wasm.stream import (
    BINDING_REF,
    COPY_COMMAND,
    DISPATCH_COMMAND,
    FILL_COMMAND,
    MAX_BINDING_COUNT,
    MAX_CONSTANT_COUNT,
    MAX_WORKGROUP_COUNT,
    PHASE_COMMAND,
    SUBMISSION_BLOCK,
    UPDATE_COMMAND,
    WHOLE_BUFFER,
    BindingRef,
    Opcode,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CommandStreamBuilder", "EncodedStream"]

_MAX_SLOT_COUNT = 1 << 16
_MAX_STREAM_BYTE_LENGTH = 1 << 30
_U32_MAX = (1 << 32) - 1
_U16_MAX = (1 << 16) - 1


@dataclass(frozen=True, slots=True)
class EncodedStream:
    """A finished stream.

    Attributes:
        data: The bytes, to be placed at a multiple of 8 anywhere in the memory.
        command_count: Commands as the caller recorded them, barriers aside; reports count them
            from 0.
        dispatch_count: Dispatches among them.
        submission_block_byte_length: Size of the submission block that an execution needs.
        slot_requirements: Bytes that each binding table slot must have at least. The executor
            does not check: the host does, before every execution.
        local_memory_byte_length: Workgroup-local memory that each worker must have.
        executable_indices: Executables that the dispatches name.
    """

    data: bytes
    command_count: int
    dispatch_count: int
    submission_block_byte_length: int
    slot_requirements: dict[int, int]
    local_memory_byte_length: int
    executable_indices: frozenset[int] = field(default_factory=frozenset)


class CommandStreamBuilder:
    """Records commands of one command buffer. Not thread-safe; `finish` ends it.

    Args:
        pointer_byte_length: 4 or 8; direct references must fit.
    """

    def __init__(self, pointer_byte_length: int = 4) -> None:
        if pointer_byte_length not in (4, 8):
            raise ArgumentError(f"pointer_byte_length is {pointer_byte_length}, expected 4 or 8")
        self._address_limit = 1 << (8 * pointer_byte_length)
        self._data = bytearray()
        self._command_count = 0
        self._dispatch_count = 0
        self._counter_count = 0
        self._phase_offset = -1
        self._slot_requirements: dict[int, int] = {}
        self._local_memory_byte_length = 0
        self._executable_indices: set[int] = set()
        self._finished = False

    def fill(self, target: BindingRef, pattern: int, pattern_byte_length: int) -> None:
        """Fills a range with a repeated pattern.

        Args:
            target: Range; its length a multiple of the pattern's, or `WHOLE_BUFFER`.
            pattern: Unsigned little-endian value of ``pattern_byte_length`` bytes.
            pattern_byte_length: 1, 2, 4 or 8.

        Raises:
            ArgumentError: A value is out of range.
        """
        if pattern_byte_length not in (1, 2, 4, 8):
            raise ArgumentError(
                f"fill: pattern of {pattern_byte_length} bytes, expected 1, 2, 4 or 8"
            )
        if not 0 <= pattern < 1 << (8 * pattern_byte_length):
            raise ArgumentError(
                f"fill: pattern {pattern:#x} does not fit {pattern_byte_length} bytes"
            )
        whole = target.byte_length == WHOLE_BUFFER
        if not whole and target.byte_length % pattern_byte_length:
            raise ArgumentError(
                f"fill: {target.byte_length} bytes are no multiple of the pattern's "
                f"{pattern_byte_length}"
            )
        reference = self._range("fill target", target, allow_whole=True)
        repeated = pattern.to_bytes(pattern_byte_length, "little") * (8 // pattern_byte_length)
        self._append(
            FILL_COMMAND.pack_all(
                *self._header(Opcode.FILL, FILL_COMMAND.byte_length),
                *reference,
                int.from_bytes(repeated, "little"),
            )
        )

    def copy(self, source: BindingRef, target: BindingRef) -> None:
        """Copies a range to another of the same length; they may overlap.

        Raises:
            ArgumentError: The lengths differ or a range is out of range.
        """
        if source.byte_length != target.byte_length:
            raise ArgumentError(
                f"copy: source has {source.byte_length} bytes, target {target.byte_length}"
            )
        references = self._range("copy source", source) + self._range("copy target", target)
        header = self._header(Opcode.COPY, COPY_COMMAND.byte_length)
        self._append(COPY_COMMAND.pack_all(*header, *references))

    def update(self, data: bytes | memoryview, target: BindingRef) -> None:
        """Writes host bytes, which are kept in the stream.

        Raises:
            ArgumentError: The lengths differ or the range is out of range.
        """
        payload = bytes(data)
        if len(payload) != target.byte_length:
            raise ArgumentError(
                f"update: {len(payload)} bytes of data for a target of {target.byte_length}"
            )
        reference = self._range("update target", target)
        padding = bytes(-len(payload) % 8)
        byte_length = UPDATE_COMMAND.byte_length + len(payload) + len(padding)
        header = self._header(Opcode.UPDATE, byte_length)
        self._append(UPDATE_COMMAND.pack_all(*header, *reference) + payload + padding)

    def dispatch(
        self,
        executable_index: int,
        function_table_index: int,
        environment_ptr: int,
        workgroup_count: tuple[int, int, int] | BindingRef,
        *,
        workgroup_size: tuple[int, int, int] = (1, 1, 1),
        constants: Sequence[int] = (),
        bindings: Sequence[BindingRef] = (),
        local_memory_byte_length: int = 0,
    ) -> None:
        """Calls a kernel once per workgroup.

        Args:
            executable_index: Index of the module that has the kernel.
            function_table_index: The kernel's index in that module's table (its export table
                pointer, after relocation).
            environment_ptr: Guest address of ``iree_hal_executable_environment_v0_t``.
            workgroup_count: x, y, z; or 12 bytes from which three u32 are loaded at execution.
            workgroup_size: x, y, z for the dispatch state.
            constants: u32 push constants; negative ones are taken modulo 2**32.
            bindings: Ranges in the kernel's binding order.
            local_memory_byte_length: Scratch memory per workgroup.

        Raises:
            ArgumentError: A value is out of range.
        """
        _check_range("dispatch environment address", environment_ptr, self._address_limit - 1)
        tail, bindings_offset = self._constants_and_bindings(constants, bindings)
        indirect, groups, count = self._workgroup_count(workgroup_count)
        header = self._header(Opcode.DISPATCH, DISPATCH_COMMAND.byte_length + len(tail))
        try:
            # Programs with dynamic shapes record on every call: values by position, and no check
            # of what the packing checks.
            command = DISPATCH_COMMAND.pack_all(
                *(*header, executable_index, function_table_index, environment_ptr),
                *(*workgroup_size, len(constants), *groups, local_memory_byte_length),
                *(len(bindings), bindings_offset, indirect, *count),
            )
        except struct.error:
            indices = executable_index, function_table_index
            _check_dispatch(*indices, workgroup_size, local_memory_byte_length)
            raise
        self._append(command + tail)
        self._dispatch_count += 1
        self._executable_indices.add(executable_index)
        self._local_memory_byte_length = max(
            self._local_memory_byte_length, local_memory_byte_length
        )

    def barrier(self) -> None:
        """Everything recorded before is done before anything recorded after starts."""
        self._require_open()
        # The next command opens a phase of its own; barriers without commands between cost nothing.
        if self._phase_offset >= 0:
            self._close_phase()
            self._phase_offset = -1

    def finish(self) -> EncodedStream:
        """Ends the recording."""
        self.barrier()
        self._finished = True
        self._data += PHASE_COMMAND.pack(opcode=Opcode.END, byte_length=PHASE_COMMAND.byte_length)
        counters = self._counter_count * 4
        return EncodedStream(
            data=bytes(self._data),
            command_count=self._command_count,
            dispatch_count=self._dispatch_count,
            submission_block_byte_length=SUBMISSION_BLOCK.byte_length + counters + counters % 8,
            slot_requirements=dict(self._slot_requirements),
            local_memory_byte_length=self._local_memory_byte_length,
            executable_indices=frozenset(self._executable_indices),
        )

    def _require_open(self) -> None:
        if self._finished:
            raise ArgumentError("command stream: recording after finish()")

    def _header(self, opcode: int, byte_length: int) -> tuple[int, int, int, int]:
        """The fields of a command's header."""
        self._require_open()
        if self._phase_offset < 0:
            self._open_phase()
        if len(self._data) + byte_length > _MAX_STREAM_BYTE_LENGTH:
            raise ArgumentError(
                f"command stream: {len(self._data) + byte_length} bytes, "
                f"at most {_MAX_STREAM_BYTE_LENGTH}"
            )
        return opcode, byte_length, self._command_count, self._new_counter()

    def _append(self, command: bytes) -> None:
        self._data += command
        self._command_count += 1

    def _new_counter(self) -> int:
        byte_offset = SUBMISSION_BLOCK.byte_length + 4 * self._counter_count
        self._counter_count += 1
        return byte_offset

    def _open_phase(self) -> None:
        self._phase_offset = len(self._data)
        self._data += PHASE_COMMAND.pack(
            opcode=Opcode.PHASE,
            byte_length=PHASE_COMMAND.byte_length,
            command_index=self._command_count,
            counter_offset=self._new_counter(),
        )

    def _close_phase(self) -> None:
        at = self._phase_offset + PHASE_COMMAND.offset("next_phase_offset")
        self._data[at : at + 4] = len(self._data).to_bytes(4, "little")

    def _constants_and_bindings(
        self, constants: Sequence[int], bindings: Sequence[BindingRef]
    ) -> tuple[bytes, int]:
        """What follows a DISPATCH command, and where its bindings start in the command."""
        constant_count, binding_count = len(constants), len(bindings)
        if constant_count > MAX_CONSTANT_COUNT or binding_count > MAX_BINDING_COUNT:
            raise ArgumentError(
                f"dispatch: {constant_count} constants and {binding_count} bindings; at most "
                f"{MAX_CONSTANT_COUNT} and {MAX_BINDING_COUNT}"
            )
        data = b"".join([(value & _U32_MAX).to_bytes(4, "little") for value in constants])
        data += bytes(-len(data) % 8)
        packed = [
            BINDING_REF.pack_all(*self._range("dispatch binding", one, index, allow_whole=True))
            for index, one in enumerate(bindings)
        ]
        return b"".join((data, *packed)), DISPATCH_COMMAND.byte_length + len(data)

    def _workgroup_count(
        self, count: tuple[int, int, int] | BindingRef
    ) -> tuple[int, tuple[int, int, int], tuple[int, int, int]]:
        """Whether it is indirect; x, y and z; and the range that they are loaded from."""
        if isinstance(count, BindingRef):
            if count.byte_length != 12:
                raise ArgumentError(
                    f"dispatch: indirect workgroup count of {count.byte_length} bytes, expected 12"
                )
            if count.byte_offset % 4:
                raise ArgumentError(
                    f"dispatch: indirect workgroup count at {count.byte_offset}, expected a "
                    "multiple of 4"
                )
            return 1, (0, 0, 0), self._range("dispatch workgroup count", count)
        x, y, z = count
        _check_range("dispatch workgroup count x", x, _U32_MAX)
        _check_range("dispatch workgroup count y", y, _U32_MAX)
        _check_range("dispatch workgroup count z", z, _U16_MAX)
        _check_range("dispatch workgroups", x * y * z, MAX_WORKGROUP_COUNT)
        return 0, count, (0, 0, 0)

    def _range(
        self, what: str, ref: BindingRef, index: int | None = None, *, allow_whole: bool = False
    ) -> tuple[int, int, int]:
        """Slot, byte offset and byte length of a checked range."""
        slot, byte_offset, byte_length = ref
        whole = allow_whole and slot >= 0 and byte_length == WHOLE_BUFFER
        end = byte_offset if whole else byte_offset + byte_length
        if (
            not -1 <= slot < _MAX_SLOT_COUNT
            or not 0 <= byte_offset <= end <= self._address_limit
            or (byte_length == WHOLE_BUFFER and not whole)
        ):
            raise self._range_error(what if index is None else f"{what} {index}", ref)
        if slot >= 0 and end > self._slot_requirements.get(slot, -1):
            self._slot_requirements[slot] = end
        return ref

    def _range_error(self, what: str, ref: BindingRef) -> ArgumentError:
        slot, byte_offset, byte_length = ref
        if not -1 <= slot < _MAX_SLOT_COUNT:
            return ArgumentError(f"{what}: slot {slot}, expected -1 to {_MAX_SLOT_COUNT - 1}")
        if byte_length == WHOLE_BUFFER:
            return ArgumentError(f"{what}: a byte length is needed here")
        return ArgumentError(
            f"{what}: {byte_length} bytes at {byte_offset} are not within "
            f"{self._address_limit} bytes"
        )


def _check_range(what: str, value: int, maximum: int) -> None:
    if not 0 <= value <= maximum:
        raise ArgumentError(f"{what} is {value}, expected 0 to {maximum}")


def _check_dispatch(
    executable_index: int,
    function_table_index: int,
    workgroup_size: tuple[int, int, int],
    local_memory_byte_length: int,
) -> None:
    """Says which field of a DISPATCH command does not take its value."""
    _check_range("dispatch executable index", executable_index, _U32_MAX)
    _check_range("dispatch function table index", function_table_index, _U32_MAX)
    _check_range("dispatch local memory bytes", local_memory_byte_length, _U32_MAX)
    limits = (_U32_MAX, _U32_MAX, _U16_MAX)
    for size, maximum, axis in zip(workgroup_size, limits, "xyz", strict=True):
        _check_range(f"dispatch workgroup size {axis}", size, maximum)
