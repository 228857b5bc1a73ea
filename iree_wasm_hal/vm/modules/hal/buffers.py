"""``hal.buffer.*``: ranges of device memory."""

from __future__ import annotations

from iree_wasm_hal.hal.buffer import Buffer
from iree_wasm_hal.status import StatusCode, invocation_error
from iree_wasm_hal.vm.buffer import Buffer as VmBuffer
from iree_wasm_hal.vm.modules.hal.bits import format_memory_type, format_usage
from iree_wasm_hal.vm.modules.hal.table import FunctionTable, expect, wrong_ref

__all__ = ["TABLE"]

TABLE = FunctionTable()


@TABLE.serve("buffer.assert", "0rrrIii_v")
def buffer_assert(
    buffer: object,
    message: object,
    allocator: object,
    minimum_length: int,
    memory_types: int,
    usage: int,
) -> None:
    """Fails unless the buffer is long enough and has every asked bit of type and usage."""
    if type(buffer) is not Buffer:
        wrong_ref(buffer, Buffer, "buffer.assert: buffer")
    if (
        buffer.byte_length >= minimum_length
        and buffer.memory_type & memory_types == memory_types
        and buffer.allowed_usage & usage == usage
    ):
        return
    name = expect(message, VmBuffer, "buffer.assert: message").text()
    if buffer.byte_length < minimum_length:
        raise invocation_error(
            StatusCode.INVALID_ARGUMENT,
            f"{name}: expected a buffer of at least {minimum_length} bytes, got "
            f"{buffer.byte_length}",
        )
    if buffer.memory_type & memory_types != memory_types:
        raise invocation_error(
            StatusCode.PERMISSION_DENIED,
            f"{name}: expected memory type {format_memory_type(memory_types)}, got "
            f"{format_memory_type(buffer.memory_type)}",
        )
    raise invocation_error(
        StatusCode.PERMISSION_DENIED,
        f"{name}: expected usage {format_usage(usage)}, the buffer was allocated for "
        f"{format_usage(buffer.allowed_usage)}",
    )


@TABLE.serve("buffer.allocation.preserve", "0r_v")
def buffer_allocation_preserve(buffer: object) -> None:
    """Adds an owner to the allocation."""
    expect(buffer, Buffer, "buffer.allocation.preserve").allocation_preserve()


@TABLE.serve("buffer.allocation.discard", "0r_i")
def buffer_allocation_discard(buffer: object) -> int:
    """Drops an owner of the allocation; 1 if it was the last."""
    return int(expect(buffer, Buffer, "buffer.allocation.discard").allocation_discard())


@TABLE.serve("buffer.allocation.is_terminal", "0r_i")
def buffer_allocation_is_terminal(buffer: object) -> int:
    """1 if the allocation has one owner left."""
    return int(expect(buffer, Buffer, "buffer.allocation.is_terminal").allocation_is_terminal())


@TABLE.serve("buffer.subspan", "0rII_r")
def buffer_subspan(buffer: object, byte_offset: int, byte_length: int) -> Buffer:
    """A buffer over a part of another."""
    if type(buffer) is not Buffer:
        wrong_ref(buffer, Buffer, "buffer.subspan")
    return buffer.subspan(byte_offset, byte_length)


@TABLE.serve("buffer.length", "0r_I")
def buffer_length(buffer: object) -> int:
    """Length of the range in bytes."""
    if type(buffer) is not Buffer:
        wrong_ref(buffer, Buffer, "buffer.length")
    return buffer.byte_length


@TABLE.serve("buffer.load", "0rIi_i")
def buffer_load(buffer: object, byte_offset: int, byte_length: int) -> int:
    """Loads 1, 2 or 4 bytes, zero-extended."""
    return expect(buffer, Buffer, "buffer.load").load(byte_offset, byte_length)


@TABLE.serve("buffer.store", "0irIi_v")
def buffer_store(value: int, buffer: object, byte_offset: int, byte_length: int) -> None:
    """Stores the low 1, 2 or 4 bytes of a value."""
    expect(buffer, Buffer, "buffer.store").store(value, byte_offset, byte_length)
