"""Queue transfers, which the host does itself: it sees all of the linear memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from iree_wasm_hal.hal.buffer import WHOLE_BUFFER, Buffer
from iree_wasm_hal.status import StatusCode, invocation_error

if TYPE_CHECKING:
    from iree_wasm_hal.hal.file import File
    from iree_wasm_hal.hal.statistics import Counters

__all__ = ["check_fill", "copy", "fill", "read", "update", "write"]

_PATTERN_DTYPES: dict[int, type[np.unsignedinteger[Any]]] = {
    1: np.uint8,
    2: np.uint16,
    4: np.uint32,
    8: np.uint64,
}


def check_fill(byte_offset: int, byte_length: int, pattern_byte_length: int) -> None:
    """Checks what IREE asks of fills.

    Raises:
        InvocationError: INVALID_ARGUMENT.
    """
    if pattern_byte_length not in _PATTERN_DTYPES:
        raise invocation_error(
            StatusCode.INVALID_ARGUMENT,
            f"fill pattern of {pattern_byte_length} bytes; expected 1, 2, 4 or 8",
        )
    whole = byte_length == WHOLE_BUFFER
    if byte_offset % pattern_byte_length or (not whole and byte_length % pattern_byte_length):
        raise invocation_error(
            StatusCode.INVALID_ARGUMENT,
            f"fill of {byte_length} bytes at offset {byte_offset}; expected multiples of the "
            f"pattern's {pattern_byte_length} bytes",
        )


def fill(
    counters: Counters,
    buffer: Buffer,
    byte_offset: int,
    byte_length: int,
    pattern: int,
    pattern_byte_length: int,
) -> None:
    """Fills a range with a repeated pattern."""
    check_fill(byte_offset, byte_length, pattern_byte_length)
    target = buffer.view(byte_offset, byte_length)
    if len(target) % pattern_byte_length:
        check_fill(byte_offset, len(target), pattern_byte_length)
    words = np.frombuffer(target, _PATTERN_DTYPES[pattern_byte_length])
    words[:] = pattern & ((1 << 8 * pattern_byte_length) - 1)
    _count(counters)


def copy(
    counters: Counters,
    source: Buffer,
    source_offset: int,
    target: Buffer,
    target_offset: int,
    byte_length: int,
) -> None:
    """Copies a range; overlapping ranges come out as if copied through a third buffer."""
    from_view = source.view(source_offset, byte_length)
    target.view(target_offset, len(from_view))[:] = from_view
    _count(counters)


def update(
    counters: Counters, data: bytes | bytearray | memoryview, buffer: Buffer, byte_offset: int
) -> None:
    """Writes host bytes."""
    source = memoryview(data).cast("B")
    buffer.view(byte_offset, len(source))[:] = source
    _count(counters, to_device=len(source))


def read(
    counters: Counters,
    file: File,
    file_offset: int,
    buffer: Buffer,
    byte_offset: int,
    byte_length: int,
) -> None:
    """Reads from a file straight into the buffer."""
    target = buffer.view(byte_offset, byte_length)
    file.read_into(file_offset, target)
    _count(counters, to_device=len(target))


def write(
    counters: Counters,
    buffer: Buffer,
    byte_offset: int,
    file: File,
    file_offset: int,
    byte_length: int,
) -> None:
    """Writes a range of the buffer straight to a file."""
    source = buffer.view(byte_offset, byte_length)
    file.write_from(file_offset, source)
    _count(counters, from_device=len(source))


def _count(counters: Counters, *, to_device: int = 0, from_device: int = 0) -> None:
    with counters.lock:
        counters.host_transfers += 1
        counters.bytes_to_device += to_device
        counters.bytes_from_device += from_device
