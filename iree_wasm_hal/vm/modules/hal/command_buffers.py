"""``hal.command_buffer.*``: recording. Direct buffers may be null, then a table slot is meant.

``dispatch`` of 3.11 passes an export ordinal as i32, 3.12 and later a function id as i64; a
function id of this HAL is the ordinal, so one function serves both.
"""

from __future__ import annotations

from typing import Any

from iree_wasm_hal.hal.buffer import Buffer
from iree_wasm_hal.hal.command_buffer import CommandBuffer
from iree_wasm_hal.hal.device import Device
from iree_wasm_hal.hal.executable import Executable
from iree_wasm_hal.vm.buffer import Buffer as VmBuffer
from iree_wasm_hal.vm.modules.hal.table import FunctionTable, expect, wrong_ref

__all__ = ["TABLE"]

TABLE = FunctionTable()

_Bindings = tuple[tuple[Any, ...], ...]
"""(reserved, slot, buffer or None, byte offset, byte length) each."""


@TABLE.serve("command_buffer.create", "0riiIi_r")
def command_buffer_create(
    device: object, modes: int, categories: int, affinity: int, binding_capacity: int
) -> CommandBuffer:
    """A command buffer that is ready to record."""
    return expect(device, Device, "command_buffer.create").create_command_buffer(
        modes=modes, binding_capacity=binding_capacity
    )


@TABLE.serve("command_buffer.finalize", "0r_v")
def command_buffer_finalize(commands: object) -> None:
    """Ends recording."""
    expect(commands, CommandBuffer, "command_buffer.finalize").finalize()


@TABLE.serve("command_buffer.begin_debug_group", "0rr_v")
def command_buffer_begin_debug_group(commands: object, label: object) -> None:
    """Opens a debug group."""
    text = expect(label, VmBuffer, "command_buffer.begin_debug_group: label").text()
    expect(commands, CommandBuffer, "command_buffer.begin_debug_group").begin_debug_group(text)


@TABLE.serve("command_buffer.end_debug_group", "0r_v")
def command_buffer_end_debug_group(commands: object) -> None:
    """Closes a debug group."""
    expect(commands, CommandBuffer, "command_buffer.end_debug_group").end_debug_group()


@TABLE.serve("command_buffer.execution_barrier", "0riiI_v")
def command_buffer_execution_barrier(
    commands: object, source_stages: int, target_stages: int, flags: int
) -> None:
    """Orders everything before against everything after."""
    if type(commands) is not CommandBuffer:
        wrong_ref(commands, CommandBuffer, "command_buffer.execution_barrier")
    commands.execution_barrier(source_stages, target_stages, flags)


@TABLE.serve("command_buffer.advise_buffer", "0rrIIIi_v")
def command_buffer_advise_buffer(
    commands: object, buffer: object, flags: int, arg0: int, arg1: int, slot: int
) -> None:
    """A hint about a buffer."""
    expect(commands, CommandBuffer, "command_buffer.advise_buffer").advise_buffer(
        _buffer(buffer), slot, flags, arg0, arg1
    )


@TABLE.serve("command_buffer.flush_buffer", "0rirII_v")
@TABLE.serve("command_buffer.invalidate_buffer", "0rirII_v")
def command_buffer_cache_hint(
    commands: object, slot: int, buffer: object, byte_offset: int, byte_length: int
) -> None:
    """3.13's cache maintenance; the linear memory is coherent, so nothing is to do."""
    expect(commands, CommandBuffer, "command_buffer.flush_buffer").advise_buffer(
        _buffer(buffer), slot
    )


@TABLE.serve("command_buffer.fill_buffer", "0rrIIiIiI_v")
def command_buffer_fill_buffer(
    commands: object,
    buffer: object,
    byte_offset: int,
    byte_length: int,
    slot: int,
    pattern: int,
    pattern_byte_length: int,
    flags: int,
) -> None:
    """Fills a range with a pattern."""
    expect(commands, CommandBuffer, "command_buffer.fill_buffer").fill_buffer(
        _buffer(buffer), slot, byte_offset, byte_length, pattern, pattern_byte_length, flags
    )


@TABLE.serve("command_buffer.update_buffer", "0rrIrIIiI_v")
def command_buffer_update_buffer(
    commands: object,
    source: object,
    source_offset: int,
    target: object,
    target_offset: int,
    byte_length: int,
    slot: int,
    flags: int,
) -> None:
    """Writes host bytes, captured now."""
    data = expect(source, VmBuffer, "command_buffer.update_buffer: source")
    expect(commands, CommandBuffer, "command_buffer.update_buffer").update_buffer(
        data.read(source_offset, byte_length), _buffer(target), slot, target_offset, flags
    )


@TABLE.serve("command_buffer.copy_buffer", "0riirIrIII_v")
def command_buffer_copy_buffer(
    commands: object,
    source_slot: int,
    target_slot: int,
    source: object,
    source_offset: int,
    target: object,
    target_offset: int,
    byte_length: int,
    flags: int,
) -> None:
    """Copies a range of one buffer to another."""
    expect(commands, CommandBuffer, "command_buffer.copy_buffer").copy_buffer(
        _buffer(source),
        source_slot,
        source_offset,
        _buffer(target),
        target_slot,
        target_offset,
        byte_length,
        flags,
    )


@TABLE.serve("command_buffer.dispatch", "0rriiiiICiDCiirIID_v", "0rrIiiiICiDCiirIID_v")
def command_buffer_dispatch(
    commands: object,
    executable: object,
    function_id: int,
    x: int,
    y: int,
    z: int,
    flags: int,
    constants: tuple[int, ...],
    bindings: _Bindings,
) -> None:
    """Calls a kernel once per workgroup."""
    if type(commands) is not CommandBuffer:
        wrong_ref(commands, CommandBuffer, "command_buffer.dispatch")
    if type(executable) is not Executable:
        wrong_ref(executable, Executable, "command_buffer.dispatch: executable")
    _check_bindings(bindings)
    commands.dispatch(executable, function_id, (x, y, z), constants, bindings, flags)


@TABLE.serve("command_buffer.dispatch.indirect", "0rriirIICiDCiirIID_v", "0rrIirIICiDCiirIID_v")
def command_buffer_dispatch_indirect(
    commands: object,
    executable: object,
    function_id: int,
    workgroups_slot: int,
    workgroups_buffer: object,
    workgroups_offset: int,
    flags: int,
    constants: tuple[int, ...],
    bindings: _Bindings,
) -> None:
    """As ``dispatch``, with the workgroup count read from a buffer when it executes."""
    _check_bindings(bindings)
    expect(commands, CommandBuffer, "command_buffer.dispatch.indirect").dispatch_indirect(
        expect(executable, Executable, "command_buffer.dispatch.indirect: executable"),
        function_id,
        _buffer(workgroups_buffer),
        workgroups_slot,
        workgroups_offset,
        constants,
        bindings,
        flags,
    )


def _buffer(value: object) -> Buffer | None:
    return None if value is None else expect(value, Buffer, "command_buffer: buffer")


def _check_bindings(bindings: _Bindings) -> None:
    for binding in bindings:
        buffer = binding[2]
        if type(buffer) is not Buffer and buffer is not None:
            wrong_ref(buffer, Buffer, "command_buffer.dispatch: binding")
