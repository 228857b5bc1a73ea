"""The HAL allocator of a device: buffers in its linear memory.

Spec: runtime/src/iree/hal/allocator.h.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from iree_wasm_hal.errors import ClosedError
from iree_wasm_hal.hal.buffer import (
    Allocation,
    Buffer,
    BufferUsage,
    MemoryAccess,
    MemoryType,
    byte_view,
)
from iree_wasm_hal.status import StatusCode, invocation_error

if TYPE_CHECKING:
    from iree_wasm_hal.hal.guest_memory import GuestMemory
    from iree_wasm_hal.hal.statistics import Counters, MemoryStatistics
    from iree_wasm_hal.hal.suballocator import Suballocator

__all__ = ["Allocator"]


class Allocator:
    """Allocates HAL buffers. Thread-safe."""

    __slots__ = ("_counters", "_memory", "_suballocator", "is_closed")

    def __init__(self, memory: GuestMemory, suballocator: Suballocator, counters: Counters) -> None:
        self._memory = memory
        self._suballocator = suballocator
        self._counters = counters
        self.is_closed = False

    def allocate_buffer(
        self,
        byte_length: int,
        memory_type: int = MemoryType.UNIFIED,
        usage: int = BufferUsage.ALL,
        access: int = MemoryAccess.ALL,
    ) -> Buffer:
        """Allocates a buffer; its contents are undefined.

        Args:
            byte_length: 0 or more.
            memory_type: Kept with the buffer; all memory here is visible to host and device.
            usage: Kept with the buffer; nothing is restricted.
            access: Kept with the buffer.

        Raises:
            LimitError: Out of linear memory.
            InvocationError: INVALID_ARGUMENT, a negative length.
            ClosedError: The device is closed.
        """
        if self.is_closed:
            raise ClosedError("allocation on a closed device")
        if byte_length < 0:
            raise invocation_error(
                StatusCode.INVALID_ARGUMENT, f"allocation of {byte_length} bytes"
            )
        block = self._suballocator.allocate(byte_length)
        return Buffer(Allocation(self._memory, block), 0, byte_length, memory_type, usage, access)

    def import_buffer(
        self,
        data: bytes | bytearray | memoryview,
        memory_type: int = MemoryType.UNIFIED,
        usage: int = BufferUsage.ALL,
        access: int = MemoryAccess.ALL,
    ) -> Buffer:
        """Copies host bytes into a new buffer. Raises as ``allocate_buffer`` does.

        A linear memory cannot map host memory, so an import is always a copy.
        """
        source = byte_view(data)
        buffer = self.allocate_buffer(len(source), memory_type, usage, access)
        buffer.view()[:] = source
        with self._counters.lock:
            self._counters.bytes_to_device += len(source)
        return buffer

    def upload(self, array: np.ndarray[Any, np.dtype[Any]]) -> Buffer:
        """Copies an array of any strides and byte order into a new, dense row-major buffer.

        Raises as ``allocate_buffer`` does.
        """
        if self.is_closed:
            raise ClosedError("allocation on a closed device")
        byte_length = array.nbytes
        block = self._suballocator.allocate(byte_length)
        dtype = array.dtype
        if not dtype.isnative:
            dtype = dtype.newbyteorder("=")
        memory = self._memory
        try:
            np.ndarray(array.shape, dtype, memory.array, block.guest_ptr)[...] = array
        except TypeError:
            memory.check_open()  # another thread may have closed it just now
            raise
        counters = self._counters
        with counters.lock:
            counters.bytes_to_device += byte_length
        return Buffer(Allocation(memory, block), 0, byte_length)

    @property
    def statistics(self) -> MemoryStatistics:
        """The linear memory now: bytes used, peak, limit, gaps, growths."""
        return self._suballocator.statistics
