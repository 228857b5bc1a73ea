"""HAL buffers: ranges of allocations in the linear memory.

Spec: runtime/src/iree/hal/buffer.h.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from iree_wasm_hal.hal.guest_memory import GuestArray, GuestMemory
from iree_wasm_hal.status import StatusCode, invocation_error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from iree_wasm_hal.hal.suballocator import Block

__all__ = [
    "WHOLE_BUFFER",
    "Allocation",
    "Buffer",
    "BufferUsage",
    "MemoryAccess",
    "MemoryType",
    "byte_view",
]

WHOLE_BUFFER = -1
"""Length that means "to the end of the buffer" (``IREE_HAL_WHOLE_BUFFER`` as a signed i64)."""

_new_array = np.ndarray.__new__
_LOAD_FORMATS = {1: struct.Struct("<B"), 2: struct.Struct("<H"), 4: struct.Struct("<I")}


class MemoryType:
    """Bits of ``iree_hal_memory_type_t``."""

    OPTIMAL = 1 << 0
    HOST_VISIBLE = 1 << 1
    HOST_COHERENT = 1 << 2
    HOST_CACHED = 1 << 3
    DEVICE_VISIBLE = 1 << 4
    HOST_LOCAL = HOST_VISIBLE | HOST_COHERENT | 1 << 6
    DEVICE_LOCAL = DEVICE_VISIBLE | 1 << 5
    # What every buffer of this device is: the host sees the linear memory.
    UNIFIED = HOST_LOCAL | HOST_CACHED | DEVICE_LOCAL


class BufferUsage:
    """Bits of ``iree_hal_buffer_usage_t``."""

    TRANSFER_SOURCE = 1 << 0
    TRANSFER_TARGET = 1 << 1
    TRANSFER = TRANSFER_SOURCE | TRANSFER_TARGET
    DISPATCH_INDIRECT_PARAMETERS = 1 << 8
    DISPATCH_UNIFORM_READ = 1 << 9
    DISPATCH_STORAGE_READ = 1 << 10
    DISPATCH_STORAGE_WRITE = 1 << 11
    DISPATCH_STORAGE = DISPATCH_STORAGE_READ | DISPATCH_STORAGE_WRITE
    DISPATCH_IMAGE_READ = 1 << 12
    DISPATCH_IMAGE_WRITE = 1 << 13
    SHARING_EXPORT = 1 << 16
    SHARING_REPLICATE = 1 << 17
    SHARING_CONCURRENT = 1 << 18
    SHARING_IMMUTABLE = 1 << 19
    MAPPING_SCOPED = 1 << 24
    MAPPING_PERSISTENT = 1 << 25
    MAPPING_OPTIONAL = 1 << 26
    MAPPING_ACCESS_RANDOM = 1 << 27
    MAPPING_ACCESS_SEQUENTIAL_WRITE = 1 << 28
    MAPPING = MAPPING_SCOPED | MAPPING_PERSISTENT | MAPPING_ACCESS_RANDOM
    # What every buffer of this device can be used for, whatever was asked.
    ALL = (
        TRANSFER
        | DISPATCH_INDIRECT_PARAMETERS
        | DISPATCH_UNIFORM_READ
        | DISPATCH_STORAGE
        | DISPATCH_IMAGE_READ
        | DISPATCH_IMAGE_WRITE
        | SHARING_EXPORT
        | SHARING_REPLICATE
        | SHARING_CONCURRENT
        | MAPPING
        | MAPPING_ACCESS_SEQUENTIAL_WRITE
    )


class MemoryAccess:
    """Bits of ``iree_hal_memory_access_t``."""

    NONE = 0
    READ = 1 << 0
    WRITE = 1 << 1
    DISCARD = 1 << 2
    ALL = READ | WRITE | DISCARD


class Allocation:
    """What the buffers of one allocation share: the storage, and the count of its owners.

    Attributes:
        block: The storage; None once a queue dealloca gave it back.
        is_transient: Whether a queue dealloca gives the storage back.
        preserve_count: Owners in the sense of ``hal.buffer.allocation.preserve``.
    """

    __slots__ = ("block", "is_transient", "memory", "preserve_count")

    def __init__(self, memory: GuestMemory, block: Block) -> None:
        self.memory = memory
        self.block: Block | None = block
        self.is_transient = False
        self.preserve_count = 1

    def deallocate(self) -> None:
        """Lets go of a transient allocation's storage.

        Raises:
            InvocationError: FAILED_PRECONDITION, it was given back before.
        """
        if self.is_transient:
            self.retain_block()
            self.block = None

    def retain_block(self) -> Block:
        """The storage, for whoever must keep it beyond a queue dealloca.

        Raises:
            InvocationError: FAILED_PRECONDITION, the allocation was given back.
        """
        block = self.block
        if block is None:
            raise invocation_error(
                StatusCode.FAILED_PRECONDITION,
                "use of a buffer after its queue dealloca; its storage may hold other data now",
            )
        return block


class Buffer:
    """A byte range of an allocation. Freed when the last reference goes. Thread-safe.

    Attributes:
        allocation: Shared with all subspans.
        byte_offset: Start of the range within the allocation.
        byte_length: Length of the range, 0 or more.
        memory_type: Bits of ``MemoryType``, as asked for.
        allowed_usage: Bits of ``BufferUsage``, as asked for.
        allowed_access: Bits of ``MemoryAccess``.
    """

    __slots__ = (
        "allocation",
        "allowed_access",
        "allowed_usage",
        "byte_length",
        "byte_offset",
        "memory_type",
    )

    def __init__(
        self,
        allocation: Allocation,
        byte_offset: int,
        byte_length: int,
        memory_type: int = MemoryType.UNIFIED,
        allowed_usage: int = BufferUsage.ALL,
        allowed_access: int = MemoryAccess.ALL,
    ) -> None:
        self.allocation = allocation
        self.byte_offset = byte_offset
        self.byte_length = byte_length
        self.memory_type = memory_type
        self.allowed_usage = allowed_usage
        self.allowed_access = allowed_access

    def __repr__(self) -> str:
        block = self.allocation.block
        where = "deallocated" if block is None else f"at {block.guest_ptr + self.byte_offset:#x}"
        return f"<hal.buffer {self.byte_length} bytes {where}>"

    @property
    def guest_ptr(self) -> int:
        """Absolute address in the linear memory.

        Raises:
            InvocationError: FAILED_PRECONDITION, after a queue dealloca.
        """
        block = self.allocation.block
        if block is None:
            block = self.allocation.retain_block()
        return block.guest_ptr + self.byte_offset

    def subspan(self, byte_offset: int, byte_length: int = WHOLE_BUFFER) -> Buffer:
        """A buffer over a part of this one; it shares the allocation.

        Raises:
            InvocationError: OUT_OF_RANGE.
        """
        if byte_length == WHOLE_BUFFER:
            byte_length = self.byte_length - byte_offset
        if byte_offset == 0 and byte_length == self.byte_length:
            return self
        self.check_range(byte_offset, byte_length)
        return Buffer(
            self.allocation,
            self.byte_offset + byte_offset,
            byte_length,
            self.memory_type,
            self.allowed_usage,
            self.allowed_access,
        )

    def check_range(self, byte_offset: int, byte_length: int) -> None:
        """Checks that a range lies within the buffer.

        Raises:
            InvocationError: OUT_OF_RANGE.
        """
        if byte_offset < 0 or byte_length < 0 or byte_offset + byte_length > self.byte_length:
            raise invocation_error(
                StatusCode.OUT_OF_RANGE,
                f"range of {byte_length} bytes at offset {byte_offset} is outside a buffer of "
                f"{self.byte_length} bytes",
            )

    def view(self, byte_offset: int = 0, byte_length: int = WHOLE_BUFFER) -> memoryview:
        """A writable zero-copy view of a range (format ``B``), the whole buffer by default.

        It does not keep the allocation alive: hold the buffer as long as the view, or use
        ``ndarray``.

        Raises:
            InvocationError: OUT_OF_RANGE, or FAILED_PRECONDITION after a queue dealloca.
            ClosedError: The device is closed.
        """
        if byte_length == WHOLE_BUFFER:
            byte_length = self.byte_length - byte_offset
        self.check_range(byte_offset, byte_length)
        start = self.guest_ptr + byte_offset
        return self.allocation.memory.view[start : start + byte_length]

    def ndarray(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """A zero-copy array over the start of the buffer; it keeps the allocation alive.

        It stays valid after the buffer and the device are gone.

        Raises:
            InvocationError: OUT_OF_RANGE, or FAILED_PRECONDITION after a queue dealloca.
            ClosedError: The device is closed.
        """
        byte_length = math.prod(shape) * dtype.itemsize
        if byte_length > self.byte_length:
            self.check_range(0, byte_length)
        block = self.allocation.retain_block()
        try:
            storage = _new_array(
                GuestArray,
                (byte_length,),
                np.uint8,
                self.allocation.memory.array,
                block.guest_ptr + self.byte_offset,
            )
            storage.block = block
            return np.ndarray(shape, dtype, storage)
        except TypeError:
            self.allocation.memory.check_open()
            raise
        except ValueError as error:
            # Programs can make views of any rank and, beside a dimension of 0, of any size.
            raise invocation_error(
                StatusCode.OUT_OF_RANGE, f"numpy has no array of shape {shape}: {error}"
            ) from error

    def read(self, byte_offset: int = 0, byte_length: int = WHOLE_BUFFER) -> bytes:
        """A copy of a range. Raises as ``view`` does."""
        return bytes(self.view(byte_offset, byte_length))

    def write(self, byte_offset: int, data: bytes | bytearray | memoryview) -> None:
        """Copies ``data``, row by row, into the buffer. Raises as ``view`` does."""
        source = byte_view(data)
        self.view(byte_offset, len(source))[:] = source

    def load(self, byte_offset: int, byte_length: int) -> int:
        """Loads 1, 2 or 4 bytes, zero-extended.

        Raises:
            InvocationError: INVALID_ARGUMENT for another length; otherwise as ``view``.
        """
        format_ = _scalar_format(byte_length)
        value: int = format_.unpack(self.view(byte_offset, byte_length))[0]
        return value

    def store(self, value: int, byte_offset: int, byte_length: int) -> None:
        """Stores the low 1, 2 or 4 bytes of an integer. Raises as ``load`` does."""
        format_ = _scalar_format(byte_length)
        masked = value & ((1 << 8 * byte_length) - 1)
        self.view(byte_offset, byte_length)[:] = format_.pack(masked)

    def allocation_preserve(self) -> None:
        """Adds an owner of the allocation (``hal.buffer.allocation.preserve``)."""
        self.allocation.preserve_count += 1

    def allocation_discard(self) -> bool:
        """Drops an owner; True if it was the last (``hal.buffer.allocation.discard``)."""
        self.allocation.preserve_count -= 1
        return self.allocation.preserve_count == 0

    def allocation_is_terminal(self) -> bool:
        """Whether one owner is left (``hal.buffer.allocation.is_terminal``)."""
        return self.allocation.preserve_count == 1


def byte_view(data: bytes | bytearray | memoryview) -> memoryview:
    """The bytes of ``data`` in row-major order: a view where they lie so, or else a copy."""
    view = memoryview(data)
    try:
        return view.cast("B")
    except TypeError:  # gaps, another order, or no elements in several dimensions
        return memoryview(view.tobytes())


def _scalar_format(byte_length: int) -> struct.Struct:
    format_ = _LOAD_FORMATS.get(byte_length)
    if format_ is None:
        raise invocation_error(
            StatusCode.INVALID_ARGUMENT,
            f"scalar access of {byte_length} bytes; expected 1, 2 or 4",
        )
    return format_
