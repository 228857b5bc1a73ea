"""Shared memory between a parent and its child: anonymous, so that nothing is left behind."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os

from iree_wasm_hal.errors import InternalError, LimitError

__all__ = ["ALIGNMENT", "Segment", "aligned", "memory_file"]

ALIGNMENT = 64
"""Of everything in a segment, in bytes."""

_SMALLEST = 1 << 16
_BLOCK = 512
"""Unit of ``st_blocks``."""
_KEPT = 16 << 20
"""Bytes that a segment keeps, however small its messages are."""
_KEPT_FACTOR = 4
"""A segment keeps this many times what its last message took: giving pages back and getting new
ones costs more than copying into them, so it is for messages that were an exception."""


def aligned(byte_offset: int) -> int:
    """The next multiple of ``ALIGNMENT``."""
    return -(-byte_offset // ALIGNMENT) * ALIGNMENT


class Segment:
    """Memory that two processes see. It goes with its last descriptor and mapping.

    A file of memory without a name (memfd), sealed against shrinking: reading what was mapped can
    not fail, whatever the other side does. Thread-compatible.

    Args:
        descriptor: Of a segment that another process created; None creates one.

    Raises:
        LimitError: The system gives no memory or descriptor.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = _create() if descriptor is None else descriptor
        self._map: mmap.mmap | None = None
        self._touched = 0
        self._filled = 0  # by the other side, as was seen

    def reserve(self, byte_length: int) -> mmap.mmap:
        """Memory of at least that many bytes, to write to.

        Raises:
            LimitError: The system does not give it.
        """
        self._touched = max(self._touched, byte_length)
        if self._map is not None and byte_length <= len(self._map):
            return self._map
        size = max(_SMALLEST, 1 << (byte_length - 1).bit_length())
        try:
            os.ftruncate(self.descriptor, size)
            self._map = mmap.mmap(self.descriptor, size)
        except (OSError, ValueError, OverflowError) as error:
            raise LimitError(
                f"no shared memory of {size} bytes for a message between processes: {error}",
                name="shared memory",
                asked=size,
                allowed=0 if self._map is None else len(self._map),
            ) from error
        return self._map

    def mapped(self, byte_length: int) -> mmap.mmap:
        """The first ``byte_length`` bytes and more, to read what the other side wrote.

        Raises:
            InternalError: The other side never wrote that much: a file of memory can be longer than
                what there is of it, and reading it would take the rest.
        """
        self._touched = max(self._touched, byte_length)
        if self._map is not None and byte_length <= min(self._filled, len(self._map)):
            return self._map
        status = os.fstat(self.descriptor)
        filled = min(status.st_size, status.st_blocks * _BLOCK)
        if filled < byte_length:
            raise InternalError(f"a message of {byte_length} bytes in a segment of {filled}")
        self._filled = filled
        if self._map is None or len(self._map) < byte_length:
            try:
                self._map = mmap.mmap(self.descriptor, status.st_size)
            except (OSError, ValueError, OverflowError) as error:
                raise InternalError(f"a segment of {status.st_size} bytes: {error}") from error
        return self._map

    def trim(self, byte_length: int) -> None:
        """Gives pages back after a message of that size, where much more is held."""
        keep = max(_KEPT, _KEPT_FACTOR * byte_length)
        if self._touched <= keep or self._map is None:
            return
        start = -(-keep // mmap.PAGESIZE) * mmap.PAGESIZE
        if start < len(self._map):
            with contextlib.suppress(OSError):  # the other side can forbid it, to its own harm
                self._map.madvise(mmap.MADV_REMOVE, start, len(self._map) - start)
        self._touched = keep
        self._filled = min(self._filled, keep)

    def seal(self) -> None:
        """Lets nobody write to it any more, this process included."""
        if self._map is not None:
            self._map.close()
            self._map = None
        fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW)

    def close(self) -> None:
        """Gives the descriptor up, and the memory once nothing looks at it. Idempotent."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.descriptor = -1
        self._map = None


def memory_file(data: bytes | bytearray | memoryview) -> int:
    """A descriptor of a file of memory with these bytes, which nobody can change.

    Raises:
        LimitError: The system gives no memory or descriptor.
    """
    descriptor = _create()
    try:
        left = memoryview(data).cast("B")
        while left:
            left = left[os.write(descriptor, left) :]
    except OSError as error:
        os.close(descriptor)
        raise LimitError(
            f"no shared memory of {len(data)} bytes for an archive: {error}",
            name="shared memory",
            asked=len(data),
            allowed=0,
        ) from error
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW)
    return descriptor


def _create() -> int:
    try:
        descriptor = os.memfd_create("iree-wasm", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except OSError as error:
        raise LimitError(
            f"no shared memory for messages between processes: {error}",
            name="descriptors",
            asked=1,
            allowed=0,
        ) from error
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    return descriptor
