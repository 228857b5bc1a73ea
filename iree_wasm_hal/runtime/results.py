"""VM values to Python values."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from iree_wasm_hal.hal.buffer_view import BufferView
from iree_wasm_hal.hal.elements import dtype_of
from iree_wasm_hal.runtime.arguments import BYTES_TYPES
from iree_wasm_hal.runtime.declaration import OtherType, PrimitiveType
from iree_wasm_hal.vm.buffer import Buffer as VmBuffer

if TYPE_CHECKING:
    from iree_wasm_hal.runtime.declaration import Type

__all__ = ["ResultConverter", "copied", "result_converter"]

ResultConverter = Callable[[object], object]


def result_converter(declared: Type | None, value_type: str) -> ResultConverter | None:
    """The converter for one result; None where the value is right as it is.

    Args:
        declared: From the declaration; None where there is none.
        value_type: The calling convention's character.
    """
    if value_type in "iI" and isinstance(declared, PrimitiveType):
        return _integer_converter(declared.element_type)
    if value_type != "r":
        return None
    if isinstance(declared, OtherType) and declared.text in BYTES_TYPES:
        return _bytes_of_buffer
    return _array_of_view


def _array_of_view(value: object) -> object:
    """A zero-copy array that keeps the device memory alive; other refs pass unchanged.

    So do tensors of elements that share a byte, such as ``i4``: numpy has no array for them.
    """
    if type(value) is not BufferView or value.element_type & 7:
        return value
    buffer = value.buffer
    return buffer.ndarray(value.shape, dtype_of(value.element_type))


def _bytes_of_buffer(value: object) -> object:
    return bytes(value.view) if isinstance(value, VmBuffer) else value


def _integer_converter(element_type: str) -> ResultConverter | None:
    if element_type == "i1":
        return bool
    if element_type.startswith("ui"):
        mask = (1 << int(element_type[2:])) - 1
        return lambda value: value & mask  # type: ignore[operator]  # an int by convention
    return None


def copied(value: object) -> object:
    """A copy of a device array in host memory; anything else unchanged."""
    return np.array(value) if isinstance(value, np.ndarray) else value
