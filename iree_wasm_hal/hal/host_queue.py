"""Queue operations that the host does itself, without the engine: it sees all of the memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.hal.buffer import byte_view
from iree_wasm_hal.hal.fill import check_fill, fill

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

        def run() -> None:
            check_fill(byte_offset, byte_length, pattern_byte_length)
            view = buffer.view(byte_offset, byte_length)
            fill(view, byte_offset, pattern, pattern_byte_length)
            self._count()

        self._scheduler.submit(wait, signal, run)

    def queue_update(
        self,
        wait: Fence | None,
        signal: Fence | None,
        data: bytes | bytearray | memoryview,
        buffer: Buffer,
        byte_offset: int,
    ) -> None:
        """Writes host bytes, row by row, captured now."""
        captured = data if wait is None or wait.is_reached else bytes(data)

        def run() -> None:
            source = byte_view(captured)
            buffer.view(byte_offset, len(source))[:] = source
            self._count(to_device=len(source))

        self._scheduler.submit(wait, signal, run)

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
        """Copies a range; overlapping ranges come out as if copied through a third buffer."""

        def run() -> None:
            view = source.view(source_offset, byte_length)
            target.view(target_offset, len(view))[:] = view
            self._count()

        self._scheduler.submit(wait, signal, run)

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

        def run() -> None:
            view = buffer.view(byte_offset, byte_length)
            file.read_into(file_offset, view)
            self._count(to_device=len(view))

        self._scheduler.submit(wait, signal, run)

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
        """Writes a range of a buffer to a file, in one copy."""

        def run() -> None:
            view = buffer.view(byte_offset, byte_length)
            file.write_from(file_offset, view)
            self._count(from_device=len(view))

        self._scheduler.submit(wait, signal, run)

    def queue_barrier(self, wait: Fence | None, signal: Fence | None) -> None:
        """Signals ``signal`` once ``wait`` is reached."""
        self._scheduler.submit(wait, signal, _nothing)

    def _count(self, *, to_device: int = 0, from_device: int = 0) -> None:
        counters = self._counters
        with counters.lock:
            counters.host_transfers += 1
            counters.bytes_to_device += to_device
            counters.bytes_from_device += from_device


def _nothing() -> None:
    """The operation of a barrier."""
