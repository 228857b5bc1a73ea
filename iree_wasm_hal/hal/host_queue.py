"""Queue operations that the host does itself, without the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.hal import transfer

if TYPE_CHECKING:
    from iree_wasm_hal.hal.buffer import Buffer
    from iree_wasm_hal.hal.fence import Fence
    from iree_wasm_hal.hal.file import File
    from iree_wasm_hal.hal.scheduling import Scheduler
    from iree_wasm_hal.hal.statistics import Counters

__all__ = ["HostQueue"]


class HostQueue:
    """The part of a device's queue that needs its order alone. Thread-safe.

    Args:
        scheduler: Runs the operations, one at a time.
        counters: Of the device.
    """

    def __init__(self, scheduler: Scheduler, counters: Counters) -> None:
        self._scheduler = scheduler
        self._counters = counters

    def queue_dealloca(self, wait: Fence | None, signal: Fence | None, buffer: Buffer) -> None:
        """Gives a transient buffer's storage back; using it afterwards is an error.

        Of any other buffer the storage goes with its last reference, as always.
        """
        self._scheduler.submit(wait, signal, buffer.allocation.deallocate)

    def queue_fill(
        self,
        wait: Fence | None,
        signal: Fence | None,
        buffer: Buffer,
        byte_offset: int,
        byte_length: int,
        pattern: int,
        pattern_byte_length: int,
    ) -> None:
        """Fills a range with a pattern of 1, 2, 4 or 8 bytes."""
        self._scheduler.submit(
            wait,
            signal,
            transfer.fill,
            self._counters,
            buffer,
            byte_offset,
            byte_length,
            pattern,
            pattern_byte_length,
        )

    def queue_update(
        self,
        wait: Fence | None,
        signal: Fence | None,
        data: bytes | bytearray | memoryview,
        buffer: Buffer,
        byte_offset: int,
    ) -> None:
        """Writes host bytes, captured now."""
        captured = data if wait is None or wait.is_reached else bytes(data)
        arguments = (self._counters, captured, buffer, byte_offset)
        self._scheduler.submit(wait, signal, transfer.update, *arguments)

    def queue_copy(
        self,
        wait: Fence | None,
        signal: Fence | None,
        source: Buffer,
        source_offset: int,
        target: Buffer,
        target_offset: int,
        byte_length: int,
    ) -> None:
        """Copies a range of one buffer to another."""
        arguments = (self._counters, source, source_offset, target, target_offset, byte_length)
        self._scheduler.submit(wait, signal, transfer.copy, *arguments)

    def queue_read(
        self,
        wait: Fence | None,
        signal: Fence | None,
        file: File,
        file_offset: int,
        buffer: Buffer,
        byte_offset: int,
        byte_length: int,
    ) -> None:
        """Reads a range of a file into a buffer, in one copy."""
        arguments = (self._counters, file, file_offset, buffer, byte_offset, byte_length)
        self._scheduler.submit(wait, signal, transfer.read, *arguments)

    def queue_write(
        self,
        wait: Fence | None,
        signal: Fence | None,
        buffer: Buffer,
        byte_offset: int,
        file: File,
        file_offset: int,
        byte_length: int,
    ) -> None:
        """Writes a range of a buffer to a file."""
        arguments = (self._counters, buffer, byte_offset, file, file_offset, byte_length)
        self._scheduler.submit(wait, signal, transfer.write, *arguments)

    def queue_barrier(self, wait: Fence | None, signal: Fence | None) -> None:
        """Signals ``signal`` once ``wait`` is reached."""
        self._scheduler.submit(wait, signal, _nothing)


def _nothing() -> None:
    """The operation of a barrier."""
