"""Tensors of a message: placed in a segment by one side, found there by the other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from iree_wasm_hal.errors import InternalError
from iree_wasm_hal.isolation.segment import aligned

if TYPE_CHECKING:
    import mmap

    from numpy.typing import NDArray

    from iree_wasm_hal.isolation.segment import Segment

__all__ = ["TensorWriter", "TypedArray", "tensor_at"]


@dataclass(frozen=True, slots=True, eq=False)
class TypedArray:
    """A buffer view outside of the process that has its device.

    As an argument it becomes a buffer view of that device; ``call_raw`` returns it for one.
    """

    element_type: int
    """An ``ElementType`` code, which says more than the array's dtype."""
    array: NDArray[Any]


class TensorWriter:
    """Gives tensors their places, and copies them there once all are known."""

    def __init__(self) -> None:
        self._placed: list[tuple[int, NDArray[Any]]] = []
        self._end = 0

    def place(self, array: NDArray[Any]) -> int:
        """The byte offset at which the array's elements will lie, densely packed."""
        byte_offset = self._end
        self._placed.append((byte_offset, array))
        self._end = aligned(byte_offset + array.nbytes)
        return byte_offset

    def write(self, segment: Segment, body: bytes) -> tuple[int, int]:
        """Copies the tensors, and behind them the rest of the message.

        Returns:
            The byte offset of the rest, and the end of the message.

        Raises:
            LimitError: There is no memory for it.
        """
        start, end = self._end, self._end + len(body)
        if end == 0:
            return 0, 0
        memory = segment.reserve(end)
        for byte_offset, array in self._placed:
            target = tensor_at(memory, byte_offset, array.shape, array.dtype)
            target[...] = array
        memory[start:end] = body
        return start, end


def tensor_at(
    memory: mmap.mmap | None,
    byte_offset: int,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    end: int | None = None,
) -> NDArray[Any]:
    """The tensor of a message, without a copy.

    Args:
        memory: In which it lies; None where the message has none.
        byte_offset: Of its first element.
        shape: Of the tensor.
        dtype: Of its elements.
        end: Of the message; None for that of the memory.

    Raises:
        InternalError: It does not lie in the message.
    """
    count = math.prod(shape)
    size = 0 if memory is None else len(memory) if end is None else end
    if byte_offset < 0 or count < 0 or byte_offset + count * dtype.itemsize > size:
        raise InternalError(f"a tensor of {shape} {dtype} at {byte_offset} of {size} bytes")
    if memory is None:  # it has no elements
        return np.empty(shape, dtype)
    return np.ndarray(shape, dtype, memory, byte_offset)
