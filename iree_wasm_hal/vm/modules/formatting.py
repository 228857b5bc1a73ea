"""Arrays and buffer views as text, in the form IREE prints: ``2x2xf32=[1 2][3 4]``.

Spec: runtime/src/iree/hal/string_util.c.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iree_wasm_hal.hal.buffer_view import BufferView

__all__ = ["format_array", "format_buffer_view", "format_element", "format_float"]

_FLOAT_KINDS = "fV"
"""numpy's own floats, and the extension floats of ml_dtypes."""


def format_buffer_view(view: BufferView, max_element_count: int | None = None) -> str:
    """Shape, element type and contents; with ``...`` behind the elements that are shown.

    Args:
        view: Its contents are read now; wait for them first.
        max_element_count: How many elements to show; None for all.
    """
    return f"{view.describe()}={format_array(view.to_numpy(), max_element_count)}"


def format_array(array: npt.NDArray[Any], max_element_count: int | None = None) -> str:
    """Elements in row-major order, with brackets around every dimension but the last one.

    Args:
        array: Of any shape and any element type of IREE's.
        max_element_count: How many elements to show; None for all.
    """
    flat = np.ascontiguousarray(array).reshape(-1)
    budget = [array.size if max_element_count is None else max_element_count]
    return _format_rows(flat, array.shape or (1,), budget)


def _format_rows(flat: npt.NDArray[Any], shape: Sequence[int], budget: list[int]) -> str:
    """Formats a row-major slice; ``budget`` holds how many elements may still be shown."""
    if len(shape) > 1:
        stride = math.prod(shape[1:])
        rows = (flat[i * stride : (i + 1) * stride] for i in range(shape[0]))
        return "".join(f"[{_format_rows(row, shape[1:], budget)}]" for row in rows)
    count = min(budget[0], shape[0])
    budget[0] -= count
    text = " ".join(format_element(element) for element in flat[:count])
    return text + ("..." if count < shape[0] else "")


def format_element(element: np.generic) -> str:
    """One element: fractions by C's ``%G``, integers in decimal, all else as bytes in hex."""
    if element.dtype.kind in _FLOAT_KINDS:
        return format_float(float(element), "G")
    if element.dtype.kind in "iu":
        return str(int(element))
    return element.tobytes().hex().upper()


def format_float(number: float, conversion: str) -> str:
    """``printf``'s ``%g`` or ``%G``; Python's own loses the sign of a NaN."""
    text = f"{number:{conversion}}"
    if math.isnan(number) and math.copysign(1.0, number) < 0:
        return f"-{text}"
    return text
