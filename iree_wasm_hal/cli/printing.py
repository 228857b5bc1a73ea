"""Prints values exactly as ``iree-run-module`` does.

Source: IREE's ``runtime/src/iree/tooling/function_io.c``.
"""

from __future__ import annotations

from iree_wasm_hal.cli.values import Tensor
from iree_wasm_hal.vm.modules.formatting import format_array, format_float

__all__ = ["ScalarResult", "format_result", "format_tensor", "tensor_type"]

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
    return f"{type_name}={format_float(number, 'g') if type_name[0] == 'f' else number}"


def format_tensor(tensor: Tensor, max_element_count: int) -> str:
    """Shape, element type and contents, such as ``2x2xi32=[1 2][3 4]``."""
    return f"{tensor_type(tensor)}={format_array(tensor.array, max_element_count)}"


def tensor_type(tensor: Tensor) -> str:
    """Shape and element type, such as ``2x2xi32``."""
    return "".join(f"{size}x" for size in tensor.array.shape) + tensor.element_name
