"""HAL command buffers: recorded once as a command stream in linear memory.

Spec: runtime/src/iree/hal/command_buffer.h.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iree_wasm_hal.hal.buffer import WHOLE_BUFFER, Buffer
from iree_wasm_hal.hal.fill import check_fill
from iree_wasm_hal.hal.submission import Submission, other_device_error
from iree_wasm_hal.status import StatusCode, invocation_error
from iree_wasm_hal.wasm import stream
from iree_wasm_hal.wasm.stream import MAX_WORKGROUP_COUNT, BindingRef
from iree_wasm_hal.wasm.stream_builder import CommandStreamBuilder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iree_wasm_hal.hal.executable import Executable
    from iree_wasm_hal.hal.executable_library import Export
    from iree_wasm_hal.hal.guest_memory import GuestMemory
    from iree_wasm_hal.hal.suballocator import Block, Suballocator

__all__ = ["CommandBuffer", "CommandBufferMode"]

_INDIRECT_COUNT_BYTE_LENGTH = 12


class CommandBufferMode:
    """Bits of ``iree_hal_command_buffer_mode_t``."""

    DEFAULT = 0
    ONE_SHOT = 1 << 0
    ALLOW_INLINE_EXECUTION = 1 << 4


class CommandBuffer:
    """Commands recorded from creation to ``finalize``, then executed any number of times.

    Buffers are given directly, or as None with a binding table slot that each execution fills.
    Memory of direct buffers, executables and the stream itself stay alive as long as this object.
    Recording is not thread-safe; execution is serialised by the device.
    """

    __slots__ = (
        "_binding_capacity",
        "_builder",
        "_executables",
        "_first_executable",
        "_group_depth",
        "_is_spent",
        "_max_workgroup_count",
        "_memory",
        "_modes",
        "_names",
        "_resources",
        "_suballocator",
        "_submission",
        "_worker_count",
    )

    def __init__(
        self,
        memory: GuestMemory,
        suballocator: Suballocator,
        *,
        modes: int = CommandBufferMode.DEFAULT,
        binding_capacity: int = 0,
        worker_count: int = 1,
    ) -> None:
        self._worker_count = worker_count
        self._max_workgroup_count = 0
        self._memory = memory
        self._suballocator = suballocator
        self._modes = modes
        self._binding_capacity = binding_capacity
        self._builder: CommandStreamBuilder | None = CommandStreamBuilder(
            8 if memory.type.index64 else 4
        )
        self._submission: Submission | None = None
        self._is_spent = False
        self._names: list[str] = []
        self._resources: list[Block] = []
        self._group_depth = 0
        self._executables: dict[int, Executable] = {}
        self._first_executable: Executable | None = None

    def __repr__(self) -> str:
        state = "recording" if self._builder is not None else "finalized"
        return f"<hal.command_buffer with {len(self._names)} commands, {state}>"

    # Recording.

    def fill_buffer(
        self,
        buffer: Buffer | None,
        slot: int,
        byte_offset: int,
        byte_length: int,
        pattern: int,
        pattern_byte_length: int,
        flags: int = 0,
    ) -> None:
        """Fills a range with a pattern of 1, 2, 4 or 8 bytes, of which the low ones of ``pattern``.

        Raises:
            InvocationError: OUT_OF_RANGE, or INVALID_ARGUMENT for a range or a pattern that does
                not fit the pattern's length.
        """
        del flags
        check_fill(byte_offset, byte_length, pattern_byte_length)
        target = self._reference("fill target", buffer, slot, byte_offset, byte_length)
        masked = pattern & ((1 << 8 * pattern_byte_length) - 1)
        self._recorder().fill(target, masked, pattern_byte_length)
        self._names.append("fill")

    def update_buffer(
        self,
        data: bytes | bytearray | memoryview,
        buffer: Buffer | None,
        slot: int,
        byte_offset: int,
        flags: int = 0,
    ) -> None:
        """Writes host bytes, captured now.

        Raises:
            InvocationError: OUT_OF_RANGE.
        """
        del flags
        source = bytes(data)
        target = self._reference("update target", buffer, slot, byte_offset, len(source))
        self._recorder().update(source, target)
        self._names.append("update")

    def copy_buffer(
        self,
        source_buffer: Buffer | None,
        source_slot: int,
        source_offset: int,
        target_buffer: Buffer | None,
        target_slot: int,
        target_offset: int,
        byte_length: int,
        flags: int = 0,
    ) -> None:
        """Copies a range of one buffer to another.

        Raises:
            InvocationError: OUT_OF_RANGE.
        """
        del flags
        source = self._reference(
            "copy source", source_buffer, source_slot, source_offset, byte_length
        )
        target = self._reference(
            "copy target", target_buffer, target_slot, target_offset, byte_length
        )
        self._recorder().copy(source, target)
        self._names.append("copy")

    def dispatch(
        self,
        executable: Executable,
        function_id: int,
        workgroup_count: tuple[int, int, int],
        constants: Sequence[int] = (),
        bindings: Sequence[tuple[Any, ...]] = (),
        flags: int = 0,
    ) -> None:
        """Calls a kernel once per workgroup.

        Args:
            executable: Of the same device.
            function_id: From ``Executable.lookup_function``, or an export ordinal.
            workgroup_count: x, y, z; taken as unsigned 32-bit numbers.
            constants: 32-bit push constants, at least as many as the kernel takes.
            bindings: (slot, buffer or None, byte offset, byte length) per binding of the kernel,
                or with a reserved integer in front as VM programs pass them.
            flags: Dispatch flags; none changes anything here.

        Raises:
            InvocationError: OUT_OF_RANGE or INVALID_ARGUMENT.
        """
        del flags
        x, y, z = workgroup_count
        count = (x & 0xFFFFFFFF, y & 0xFFFFFFFF, z & 0xFFFFFFFF)
        self._max_workgroup_count = max(self._max_workgroup_count, count[0] * count[1] * count[2])
        self._dispatch(executable, function_id, count, constants, bindings)

    def dispatch_indirect(
        self,
        executable: Executable,
        function_id: int,
        workgroups_buffer: Buffer | None,
        workgroups_slot: int,
        workgroups_offset: int,
        constants: Sequence[int] = (),
        bindings: Sequence[tuple[Any, ...]] = (),
        flags: int = 0,
    ) -> None:
        """As ``dispatch``, with the workgroup count read from a buffer when it executes."""
        del flags
        if workgroups_offset % 4:
            raise invocation_error(
                StatusCode.INVALID_ARGUMENT,
                f"workgroup count at offset {workgroups_offset}; expected a multiple of 4",
            )
        self._max_workgroup_count = MAX_WORKGROUP_COUNT
        count = self._reference(
            "workgroup count",
            workgroups_buffer,
            workgroups_slot,
            workgroups_offset,
            _INDIRECT_COUNT_BYTE_LENGTH,
        )
        self._dispatch(executable, function_id, count, constants, bindings)

    def execution_barrier(
        self, source_stage_mask: int = 0, target_stage_mask: int = 0, flags: int = 0
    ) -> None:
        """Orders everything recorded before against everything after; stages are not told apart."""
        del source_stage_mask, target_stage_mask, flags
        self._recorder().barrier()

    def advise_buffer(
        self, buffer: Buffer | None, slot: int, flags: int = 0, arg0: int = 0, arg1: int = 0
    ) -> None:
        """Accepts a hint about a buffer; there is nothing it could change here."""
        del buffer, slot, flags, arg0, arg1
        self._recorder()

    def begin_debug_group(self, label: str) -> None:
        """Opens a debug group; nothing is recorded."""
        del label
        self._recorder()
        self._group_depth += 1

    def end_debug_group(self) -> None:
        """Closes a debug group.

        Raises:
            InvocationError: FAILED_PRECONDITION, none is open.
        """
        self._recorder()
        if self._group_depth == 0:
            raise invocation_error(
                StatusCode.FAILED_PRECONDITION, "end_debug_group without begin_debug_group"
            )
        self._group_depth -= 1

    def finalize(self) -> None:
        """Ends the recording and writes the stream into linear memory.

        Raises:
            InvocationError: FAILED_PRECONDITION, called before or with a debug group open.
            LimitError: Out of linear memory.
        """
        builder = self._recorder()
        if self._group_depth:
            raise invocation_error(
                StatusCode.FAILED_PRECONDITION,
                f"finalize with {self._group_depth} debug groups open",
            )
        self._submission = Submission(
            builder.finish(),
            self._memory,
            self._suballocator,
            executables=self._executables,
            first_executable=self._first_executable,
            names=self._names,
            max_workgroup_count=self._max_workgroup_count,
            worker_count=self._worker_count,
        )
        self._builder = None

    def take_submission(self) -> Submission:
        """What an execution needs, for the device.

        Raises:
            InvocationError: FAILED_PRECONDITION, not finalized, or one-shot and taken before.
        """
        submission = self._submission
        if submission is None:
            raise invocation_error(
                StatusCode.FAILED_PRECONDITION, "execution of a command buffer before finalize"
            )
        if self._modes & CommandBufferMode.ONE_SHOT:
            if self._is_spent:
                raise invocation_error(
                    StatusCode.FAILED_PRECONDITION, "second execution of a one-shot command buffer"
                )
            self._is_spent = True
        return submission

    # Internals.

    def _recorder(self) -> CommandStreamBuilder:
        if self._builder is None:
            raise invocation_error(
                StatusCode.FAILED_PRECONDITION, "recording into a finalized command buffer"
            )
        return self._builder

    def _reference(
        self, what: str, buffer: Buffer | None, slot: int, byte_offset: int, byte_length: int
    ) -> BindingRef:
        """A checked reference to a range of a direct or table buffer."""
        if buffer is not None:
            if byte_length == WHOLE_BUFFER:
                byte_length = buffer.byte_length - byte_offset
            buffer.check_range(byte_offset, byte_length)
            if buffer.allocation.memory is not self._memory:
                raise other_device_error("a buffer")
            block = buffer.allocation.retain_block()
            self._resources.append(block)
            start = block.guest_ptr + buffer.byte_offset + byte_offset
            return BindingRef(-1, start, byte_length)
        if byte_offset < 0 or byte_length < WHOLE_BUFFER:
            raise invocation_error(
                StatusCode.OUT_OF_RANGE, f"{what}: {byte_length} bytes at offset {byte_offset}"
            )
        if not 0 <= slot < self._binding_capacity:
            if slot == 0 and self._binding_capacity == 0:
                return BindingRef(-1, 0, 0)  # a null buffer, as IREE reads it
            raise invocation_error(
                StatusCode.OUT_OF_RANGE,
                f"{what}: binding table slot {slot} is out of range; the command buffer was "
                f"created for {self._binding_capacity}",
            )
        length = stream.WHOLE_BUFFER if byte_length == WHOLE_BUFFER else byte_length
        return BindingRef(slot, byte_offset, length)

    def _dispatch(
        self,
        executable: Executable,
        function_id: int,
        workgroup_count: tuple[int, int, int] | BindingRef,
        constants: Sequence[int],
        bindings: Sequence[tuple[Any, ...]],
    ) -> None:
        export = executable.export(function_id)
        if executable.memory is not self._memory:
            raise other_device_error(f"executable {executable.name!r}")
        _check_counts(export, constants, bindings)
        references = []
        for binding in bindings:
            slot, buffer, byte_offset, byte_length = binding[-4:]
            references.append(self._reference(export.name, buffer, slot, byte_offset, byte_length))
        self._recorder().dispatch(
            executable.index,
            export.function_table_index,
            executable.environment_ptr,
            workgroup_count,
            workgroup_size=export.workgroup_size,
            constants=constants[: export.constant_count],
            bindings=references,
            local_memory_byte_length=export.local_memory_byte_length,
        )
        if self._first_executable is None:
            self._first_executable = executable
        self._executables[executable.index] = executable
        self._names.append(export.name)


def _check_counts(export: Export, constants: Sequence[int], bindings: Sequence[object]) -> None:
    if len(constants) < export.constant_count or len(bindings) != export.binding_count:
        raise invocation_error(
            StatusCode.INVALID_ARGUMENT,
            f"kernel {export.name!r} takes {export.constant_count} constants and "
            f"{export.binding_count} bindings; got {len(constants)} and {len(bindings)}",
        )
