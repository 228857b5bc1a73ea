"""Buffer views as text, in the form IREE prints: ``2x2xf32=[1 2][3 4]``.

Spec: runtime/src/iree/hal/string_util.c.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from iree_wasm_hal.hal.buffer_view import BufferView

__all__ = ["format_buffer_view"]

_FLOAT_KINDS = "fV"
"""numpy's own floats, and the extension floats of ml_dtypes."""


def format_buffer_view(view: BufferView, max_element_count: int | None = None) -> str:
    """Shape, element type and contents; with ``...`` behind the elements that are shown.

    Args:
        view: Its contents are read now; wait for them first.
        max_element_count: How many elements to show; None for all.
    """
    array = view.to_numpy()
    flat = array.reshape(-1)
    if array.dtype.kind in _FLOAT_KINDS:
        flat = flat.astype(np.float64)
    limit = flat.size if max_element_count is None else max_element_count
    words = [_element(element) for element in flat[:limit]]
    return f"{view.describe()}={_nest(words, array.shape or (1,), array.size)}"


def _element(element: Any) -> str:
    if isinstance(element, np.bool_):
        return f"{int(element):02X}"
    if isinstance(element, np.floating):
        text = f"{element:G}"
        negative_nan = math.isnan(element) and math.copysign(1.0, element) < 0
        return "-NAN" if negative_nan else text
    if isinstance(element, np.integer):
        return str(element)
    raw: npt.NDArray[Any] = np.asarray(element)
    return raw.tobytes().hex().upper()


def _nest(words: list[str], shape: tuple[int, ...], element_count: int) -> str:
    """Brackets around every dimension but the last one."""
    if len(shape) == 1:
        shown = " ".join(words[: shape[0]])
        return shown if len(words) >= shape[0] else f"{shown}..."
    stride = element_count // shape[0] if shape[0] else 0
    return "".join(
        f"[{_nest(words[i * stride : (i + 1) * stride], shape[1:], stride)}]"
        for i in range(shape[0])
    )
