"""``hal.device.queue.*``: work for the device, ordered by fences (null: nothing to wait for)."""

from __future__ import annotations

from typing import Any

from iree_wasm_hal.hal.buffer import Buffer
from iree_wasm_hal.hal.command_buffer import CommandBuffer
from iree_wasm_hal.hal.device import Device
from iree_wasm_hal.hal.fence import Fence
from iree_wasm_hal.hal.file import File
from iree_wasm_hal.status import StatusCode, invocation_error
from iree_wasm_hal.vm.buffer import Buffer as VmBuffer
from iree_wasm_hal.vm.modules.hal.table import FunctionTable, expect, wrong_ref

__all__ = ["TABLE"]

TABLE = FunctionTable()


def _fence(value: object) -> Fence | None:
    if type(value) is not Fence and value is not None:
        wrong_ref(value, Fence, "device.queue: fence")
    return value


def _device(value: object) -> Device:
    if type(value) is not Device:
        wrong_ref(value, Device, "device.queue: device")
    return value


@TABLE.serve("device.queue.alloca", "0rIrrIiiII_r")
def queue_alloca(
    device: object,
    affinity: int,
    wait: object,
    signal: object,
    pool: int,
    memory_types: int,
    usage: int,
    byte_length: int,
    flags: int,
) -> Buffer:
    """A transient buffer."""
    if pool:
        raise invocation_error(
            StatusCode.UNIMPLEMENTED, f"device.queue.alloca: unknown pool {pool}; expected 0"
        )
    return _device(device).queue_alloca(
        _fence(wait), _fence(signal), memory_types, usage, byte_length, flags
    )


@TABLE.serve("device.queue.dealloca", "0rIrrrI_v")
def queue_dealloca(
    device: object, affinity: int, wait: object, signal: object, buffer: object, flags: int
) -> None:
    """Gives a transient buffer's storage back."""
    if type(buffer) is not Buffer:
        wrong_ref(buffer, Buffer, "device.queue.dealloca: buffer")
    _device(device).queue_dealloca(_fence(wait), _fence(signal), buffer)


@TABLE.serve("device.queue.fill", "0rIrrrIIIiI_v")
def queue_fill(
    device: object,
    affinity: int,
    wait: object,
    signal: object,
    buffer: object,
    byte_offset: int,
    byte_length: int,
    pattern: int,
    pattern_byte_length: int,
    flags: int,
) -> None:
    """Fills a range with a pattern."""
    _device(device).queue_fill(
        _fence(wait),
        _fence(signal),
        expect(buffer, Buffer, "device.queue.fill: buffer"),
        byte_offset,
        byte_length,
        pattern,
        pattern_byte_length,
    )


@TABLE.serve("device.queue.update", "0rIrrrIrIII_v")
def queue_update(
    device: object,
    affinity: int,
    wait: object,
    signal: object,
    source: object,
    source_offset: int,
    target: object,
    target_offset: int,
    byte_length: int,
    flags: int,
) -> None:
    """Writes host bytes, captured now."""
    data = expect(source, VmBuffer, "device.queue.update: source")
    _device(device).queue_update(
        _fence(wait),
        _fence(signal),
        data.read(source_offset, byte_length),
        expect(target, Buffer, "device.queue.update: target"),
        target_offset,
    )


@TABLE.serve("device.queue.copy", "0rIrrrIrIII_v")
def queue_copy(
    device: object,
    affinity: int,
    wait: object,
    signal: object,
    source: object,
    source_offset: int,
    target: object,
    target_offset: int,
    byte_length: int,
    flags: int,
) -> None:
    """Copies a range of one buffer to another."""
    _device(device).queue_copy(
        _fence(wait),
        _fence(signal),
        expect(source, Buffer, "device.queue.copy: source"),
        source_offset,
        expect(target, Buffer, "device.queue.copy: target"),
        target_offset,
        byte_length,
    )


@TABLE.serve("device.queue.read", "0rIrrrIrIII_v")
def queue_read(
    device: object,
    affinity: int,
    wait: object,
    signal: object,
    file: object,
    file_offset: int,
    buffer: object,
    byte_offset: int,
    byte_length: int,
    flags: int,
) -> None:
    """Reads a range of a file into a buffer."""
    _device(device).queue_read(
        _fence(wait),
        _fence(signal),
        expect(file, File, "device.queue.read: file"),
        file_offset,
        expect(buffer, Buffer, "device.queue.read: buffer"),
        byte_offset,
        byte_length,
    )


@TABLE.serve("device.queue.write", "0rIrrrIrIII_v")
def queue_write(
    device: object,
    affinity: int,
    wait: object,
    signal: object,
    buffer: object,
    byte_offset: int,
    file: object,
    file_offset: int,
    byte_length: int,
    flags: int,
) -> None:
    """Writes a range of a buffer to a file."""
    _device(device).queue_write(
        _fence(wait),
        _fence(signal),
        expect(buffer, Buffer, "device.queue.write: buffer"),
        byte_offset,
        expect(file, File, "device.queue.write: file"),
        file_offset,
        byte_length,
    )


@TABLE.serve("device.queue.barrier", "0rIrrI_v")
def queue_barrier(device: object, affinity: int, wait: object, signal: object, flags: int) -> None:
    """Signals one fence once another is reached."""
    _device(device).queue_barrier(_fence(wait), _fence(signal))


@TABLE.serve("device.queue.execute", "0rIrrrI_v")
def queue_execute(
    device: object, affinity: int, wait: object, signal: object, commands: object, flags: int
) -> None:
    """Executes a command buffer without a binding table."""
    if type(commands) is not CommandBuffer:
        wrong_ref(commands, CommandBuffer, "device.queue.execute: command buffer")
    _device(device).queue_execute(_fence(wait), _fence(signal), commands)


@TABLE.serve("device.queue.execute.indirect", "0rIrrrICrIID_v")
def queue_execute_indirect(
    device: object,
    affinity: int,
    wait: object,
    signal: object,
    commands: object,
    flags: int,
    bindings: tuple[tuple[Any, int, int], ...],
) -> None:
    """Executes a command buffer with a binding table of (buffer, offset, length)."""
    if type(commands) is not CommandBuffer:
        wrong_ref(commands, CommandBuffer, "device.queue.execute.indirect: command buffer")
    for buffer, _, _ in bindings:
        if type(buffer) is not Buffer and buffer is not None:
            wrong_ref(buffer, Buffer, "device.queue.execute.indirect: binding")
    _device(device).queue_execute(_fence(wait), _fence(signal), commands, bindings)


@TABLE.serve("device.queue.flush", "0rI_v")
def queue_flush(device: object, affinity: int) -> None:
    """Starts pending work."""
    _device(device).queue_flush()
