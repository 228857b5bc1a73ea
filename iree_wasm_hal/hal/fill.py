"""Filling a range with a pattern, and what IREE asks of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from iree_wasm_hal.hal.buffer import WHOLE_BUFFER
from iree_wasm_hal.status import StatusCode, invocation_error

__all__ = ["check_fill", "fill"]

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


def fill(target: memoryview, byte_offset: int, pattern: int, pattern_byte_length: int) -> None:
    """Fills all of a range of a buffer with a repeated pattern.

    Args:
        target: The range.
        byte_offset: Of the range in its buffer.
        pattern: Its low bits count.
        pattern_byte_length: 1, 2, 4 or 8.

    Raises:
        InvocationError: INVALID_ARGUMENT.
    """
    check_fill(byte_offset, len(target), pattern_byte_length)
    words = np.frombuffer(target, _PATTERN_DTYPES[pattern_byte_length])
    words[:] = pattern & ((1 << 8 * pattern_byte_length) - 1)
