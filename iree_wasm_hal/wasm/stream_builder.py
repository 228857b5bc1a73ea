"""Encodes commands into a stream, with every range checked."""

from __future__ import annotations

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
        reference = self._reference("fill target", target, "target", allow_whole=True)
        repeated = pattern.to_bytes(pattern_byte_length, "little") * (8 // pattern_byte_length)
        self._append(
            FILL_COMMAND.pack(
                **self._header(Opcode.FILL, FILL_COMMAND.byte_length),
                **reference,
                pattern=int.from_bytes(repeated, "little"),
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
        references = {
            **self._reference("copy source", source, "source"),
            **self._reference("copy target", target, "target"),
        }
        header = self._header(Opcode.COPY, COPY_COMMAND.byte_length)
        self._append(COPY_COMMAND.pack(**header, **references))

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
        reference = self._reference("update target", target, "target")
        padding = bytes(-len(payload) % 8)
        byte_length = UPDATE_COMMAND.byte_length + len(payload) + len(padding)
        header = self._header(Opcode.UPDATE, byte_length)
        self._append(UPDATE_COMMAND.pack(**header, **reference) + payload + padding)

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
        self._check_dispatch(
            (executable_index, function_table_index, environment_ptr, local_memory_byte_length),
            workgroup_size,
            (len(constants), len(bindings)),
        )
        tail, bindings_offset = self._constants_and_bindings(constants, bindings)
        command = DISPATCH_COMMAND.pack(
            **self._workgroup_count(workgroup_count),
            **self._header(Opcode.DISPATCH, DISPATCH_COMMAND.byte_length + len(tail)),
            executable_index=executable_index,
            function_table_index=function_table_index,
            environment_address=environment_ptr,
            workgroup_size_x=workgroup_size[0],
            workgroup_size_y=workgroup_size[1],
            workgroup_size_z=workgroup_size[2],
            constant_count=len(constants),
            binding_count=len(bindings),
            bindings_offset=bindings_offset,
            local_memory_byte_length=local_memory_byte_length,
        )
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

    def _header(self, opcode: Opcode, byte_length: int) -> dict[str, int]:
        self._require_open()
        if self._phase_offset < 0:
            self._open_phase()
        if len(self._data) + byte_length > _MAX_STREAM_BYTE_LENGTH:
            raise ArgumentError(
                f"command stream: {len(self._data) + byte_length} bytes, "
                f"at most {_MAX_STREAM_BYTE_LENGTH}"
            )
        return {
            "opcode": opcode,
            "byte_length": byte_length,
            "command_index": self._command_count,
            "counter_offset": self._new_counter(),
        }

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

    def _check_dispatch(
        self,
        values: tuple[int, int, int, int],
        workgroup_size: tuple[int, int, int],
        counts: tuple[int, int],
    ) -> None:
        limits = (
            ("dispatch executable index", _U32_MAX),
            ("dispatch function table index", _U32_MAX),
            ("dispatch environment address", self._address_limit - 1),
            ("dispatch local memory bytes", _U32_MAX),
        )
        for (what, maximum), value in zip(limits, values, strict=True):
            _check_range(what, value, maximum)
        size_limits = (_U32_MAX, _U32_MAX, _U16_MAX)
        for size, maximum, axis in zip(workgroup_size, size_limits, "xyz", strict=True):
            _check_range(f"dispatch workgroup size {axis}", size, maximum)
        constant_count, binding_count = counts
        if constant_count > MAX_CONSTANT_COUNT or binding_count > MAX_BINDING_COUNT:
            raise ArgumentError(
                f"dispatch: {constant_count} constants and {binding_count} bindings; at most "
                f"{MAX_CONSTANT_COUNT} and {MAX_BINDING_COUNT}"
            )

    def _constants_and_bindings(
        self, constants: Sequence[int], bindings: Sequence[BindingRef]
    ) -> tuple[bytes, int]:
        """What follows a DISPATCH command, and where its bindings start in the command."""
        data = b"".join((value & _U32_MAX).to_bytes(4, "little") for value in constants)
        data += bytes(-len(data) % 8)
        packed = b"".join(
            BINDING_REF.pack_all(*self._range(f"dispatch binding {i}", b, allow_whole=True))
            for i, b in enumerate(bindings)
        )
        return data + packed, DISPATCH_COMMAND.byte_length + len(data)

    def _workgroup_count(self, count: tuple[int, int, int] | BindingRef) -> dict[str, int]:
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
            return {"indirect": 1, **self._reference("dispatch workgroup count", count, "count")}
        x, y, z = count
        _check_range("dispatch workgroup count x", x, _U32_MAX)
        _check_range("dispatch workgroup count y", y, _U32_MAX)
        _check_range("dispatch workgroup count z", z, _U16_MAX)
        _check_range("dispatch workgroups", x * y * z, MAX_WORKGROUP_COUNT)
        return {"workgroup_count_x": x, "workgroup_count_y": y, "workgroup_count_z": z}

    def _reference(
        self, what: str, ref: BindingRef, prefix: str, *, allow_whole: bool = False
    ) -> dict[str, int]:
        """The fields of a range that is named so in a command."""
        names = ("slot", "byte_offset", "byte_length")
        return {
            f"{prefix}_{name}": value
            for name, value in zip(
                names, self._range(what, ref, allow_whole=allow_whole), strict=True
            )
        }

    def _range(
        self, what: str, ref: BindingRef, *, allow_whole: bool = False
    ) -> tuple[int, int, int]:
        """Slot, byte offset and byte length of a checked range."""
        whole = ref.byte_length == WHOLE_BUFFER
        if whole and not (allow_whole and ref.slot >= 0):
            raise ArgumentError(f"{what}: a byte length is needed here")
        byte_length = 0 if whole else ref.byte_length
        end = ref.byte_offset + byte_length
        if not -1 <= ref.slot < _MAX_SLOT_COUNT:
            raise ArgumentError(f"{what}: slot {ref.slot}, expected -1 to {_MAX_SLOT_COUNT - 1}")
        if ref.byte_offset < 0 or byte_length < 0 or end > self._address_limit:
            raise ArgumentError(
                f"{what}: {byte_length} bytes at {ref.byte_offset} are not within "
                f"{self._address_limit} bytes"
            )
        if ref.slot >= 0:
            needed = max(self._slot_requirements.get(ref.slot, 0), end)
            self._slot_requirements[ref.slot] = needed
        return ref.slot, ref.byte_offset, ref.byte_length


def _check_range(what: str, value: int, maximum: int) -> None:
    if not 0 <= value <= maximum:
        raise ArgumentError(f"{what} is {value}, expected 0 to {maximum}")
