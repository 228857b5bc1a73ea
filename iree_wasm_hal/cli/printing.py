"""Prints values exactly as ``iree-run-module`` does.

Source: IREE's ``runtime/src/iree/tooling/function_io.c`` and ``hal/string_util.c``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from iree_wasm_hal.cli.element_names import FLOAT_NAMES
from iree_wasm_hal.cli.values import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ScalarResult", "format_element", "format_result", "format_tensor"]

ScalarResult = tuple[str, int | float]
"""Type name (``i32``, ``i64``, ``f32``, ``f64``) and value of a primitive result."""


def format_result(value: Tensor | ScalarResult | None, max_element_count: int) -> str:
    """One result without its ``result[0]: `` prefix: a type line and the contents for a tensor.

    Args:
        value: ``None`` stands for a null reference.
        max_element_count: Elements of a tensor to print before eliding the rest.
    """
    if value is None:
        return "(null)"
    if isinstance(value, Tensor):
        return f"hal.buffer_view\n{format_tensor(value, max_element_count)}"
    type_name, number = value
    return f"{type_name}={_c_float(number, 'g') if type_name[0] == 'f' else number}"


def format_tensor(tensor: Tensor, max_element_count: int) -> str:
    """Shape, element type and contents, such as ``2x2xi32=[1 2][3 4]``."""
    shape = tensor.array.shape
    prefix = "".join(f"{size}x" for size in shape)
    flat = np.ascontiguousarray(tensor.array).reshape(-1)
    budget = [max_element_count]
    contents = _format_elements(flat, shape or (1,), tensor.element_name, budget)
    return f"{prefix}{tensor.element_name}={contents}"


def _format_elements(
    flat: npt.NDArray[Any], shape: Sequence[int], element_name: str, budget: list[int]
) -> str:
    """Formats a row-major slice; ``budget`` is how many elements may still be printed."""
    if len(shape) > 1:
        stride = math.prod(shape[1:])
        return "".join(
            "["
            + _format_elements(flat[i * stride : (i + 1) * stride], shape[1:], element_name, budget)
            + "]"
            for i in range(shape[0])
        )
    count = min(budget[0], shape[0])
    budget[0] -= count
    text = " ".join(format_element(element, element_name) for element in flat[:count])
    return text + ("..." if count < shape[0] else "")


def format_element(element: np.generic, element_name: str) -> str:
    """One element: fractions by C's ``%G``, integers in decimal, all else as bytes in hex."""
    if element_name in FLOAT_NAMES:
        return _c_float(float(element), "G")
    if element.dtype.kind in "iu":
        return str(int(element))
    return element.tobytes().hex().upper()


def _c_float(number: float, conversion: str) -> str:
    """``printf``'s ``%g`` or ``%G``; Python's own loses the sign of a NaN."""
    text = ("%" + conversion) % number
    if math.isnan(number) and math.copysign(1.0, number) < 0:
        return f"-{text}"
    return text
