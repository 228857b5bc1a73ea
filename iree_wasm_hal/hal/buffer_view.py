"""HAL buffer views: a buffer with a shape and an element type.

Spec: runtime/src/iree/hal/buffer_view.h.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from iree_wasm_hal.hal.elements import ENCODING_DENSE_ROW_MAJOR, dtype_of, element_name
from iree_wasm_hal.status import StatusCode, invocation_error

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from iree_wasm_hal.hal.buffer import Buffer

__all__ = ["BufferView"]


class BufferView:
    """A shaped and typed view of a buffer; immutable.

    Attributes:
        buffer: At least as long as the elements need.
        shape: Dimensions, outermost first; empty for a scalar.
        element_type: An ``ElementType`` code.
        encoding_type: 1 for dense row-major.

    Raises:
        InvocationError: OUT_OF_RANGE, the buffer is too small or a dimension negative.
    """

    __slots__ = ("buffer", "element_type", "encoding_type", "shape")

    def __init__(
        self,
        buffer: Buffer,
        shape: tuple[int, ...],
        element_type: int,
        encoding_type: int = ENCODING_DENSE_ROW_MAJOR,
    ) -> None:
        self.buffer = buffer
        self.shape = shape
        self.element_type = element_type
        self.encoding_type = encoding_type
        if encoding_type == ENCODING_DENSE_ROW_MAJOR:
            needed = (math.prod(shape) * (element_type & 0xFF) + 7) >> 3
            if needed > buffer.byte_length or (shape and min(shape) < 0):
                raise invocation_error(
                    StatusCode.OUT_OF_RANGE,
                    f"a buffer view of {self.describe()} needs {needed} bytes, its buffer has "
                    f"{buffer.byte_length}",
                )

    def __repr__(self) -> str:
        return f"<hal.buffer_view {self.describe()}>"

    def describe(self) -> str:
        """Shape and element type in IREE's spelling, such as ``4x2xf32``."""
        return "x".join([*map(str, self.shape), element_name(self.element_type)])

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def element_count(self) -> int:
        """Product of the dimensions; 1 for a scalar."""
        return math.prod(self.shape)

    @property
    def byte_length(self) -> int:
        """Bytes of the elements, densely packed."""
        return (math.prod(self.shape) * (self.element_type & 0xFF) + 7) >> 3

    def to_numpy(self) -> NDArray[Any]:
        """A zero-copy array that keeps the buffer's allocation alive.

        Raises:
            ArgumentError: numpy has no dtype for the element type.
            InvocationError: FAILED_PRECONDITION, after a queue dealloca.
        """
        return self.buffer.ndarray(self.shape, dtype_of(self.element_type))
