"""``hal.allocator.*`` and ``hal.ex.file.from_memory``: memory, and files over host bytes."""

from __future__ import annotations

from typing import Any

from iree_wasm_hal.hal.allocator import Allocator
from iree_wasm_hal.hal.buffer import Buffer, BufferUsage, MemoryAccess
from iree_wasm_hal.hal.device import Device
from iree_wasm_hal.hal.file import File
from iree_wasm_hal.status import StatusCode, invocation_error
from iree_wasm_hal.vm.buffer import Buffer as VmBuffer
from iree_wasm_hal.vm.modules.hal.table import FunctionTable, expect

__all__ = ["TABLE"]

TABLE = FunctionTable()


@TABLE.serve("allocator.select", "0iiICrID_rI")
def allocator_select(
    memory_types: int, usage: int, flags: int, pairs: tuple[tuple[Any, int], ...]
) -> tuple[Device, int]:
    """The first of the (device, queue affinity) pairs: IREE's own choice without a policy."""
    if not pairs:
        raise invocation_error(
            StatusCode.INVALID_ARGUMENT, "allocator.select: no device to select from"
        )
    device, affinity = pairs[0]
    return expect(device, Device, "allocator.select"), affinity


@TABLE.serve("allocator.allocate", "0rIiiI_r")
def allocator_allocate(
    allocator: object, affinity: int, memory_types: int, usage: int, byte_length: int
) -> Buffer:
    """A buffer with undefined contents."""
    return expect(allocator, Allocator, "allocator.allocate").allocate_buffer(
        byte_length, memory_types, usage
    )


@TABLE.serve("allocator.import", "0riIiirII_r")
def allocator_import(
    allocator: object,
    is_try: int,
    affinity: int,
    memory_types: int,
    usage: int,
    source: object,
    byte_offset: int,
    byte_length: int,
) -> Buffer | None:
    """A buffer over host bytes: never, since a linear memory maps no other memory.

    The program then allocates a buffer and reads the bytes into it, which is one copy as well.
    """
    data = expect(source, VmBuffer, "allocator.import: source")
    expect(allocator, Allocator, "allocator.import")
    length = data.byte_length - byte_offset if byte_length == -1 else byte_length
    view = data.read(byte_offset, length)
    if not data.writable and not usage & BufferUsage.SHARING_IMMUTABLE:
        raise invocation_error(
            StatusCode.PERMISSION_DENIED,
            "allocator.import: read-only bytes can only become constants",
        )
    if is_try:
        return None
    raise invocation_error(
        StatusCode.UNAVAILABLE,
        f"allocator.import: {len(view)} host bytes cannot be mapped into a linear memory",
    )


@TABLE.serve("ex.file.from_memory", "0rIirIIi_r")
def file_from_memory(
    device: object,
    affinity: int,
    access: int,
    source: object,
    byte_offset: int,
    byte_length: int,
    flags: int,
) -> File:
    """A read-only file over host bytes, which for constants are the mapped archive."""
    if access & ~MemoryAccess.READ:
        raise invocation_error(
            StatusCode.PERMISSION_DENIED, "ex.file.from_memory: host memory is read-only here"
        )
    data = expect(source, VmBuffer, "ex.file.from_memory: buffer")
    expect(device, Device, "ex.file.from_memory: device")
    return File.from_memory(data.read(byte_offset, byte_length))
