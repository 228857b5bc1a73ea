"""Results that come back: plain data and tensors, checked as whatever a stranger sends."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from iree_wasm_hal.errors import CallError, InternalError
from iree_wasm_hal.hal.buffer_view import BufferView
from iree_wasm_hal.hal.elements import ElementType, dtype_of, element_type_of
from iree_wasm_hal.isolation.plain import PLAIN, reading
from iree_wasm_hal.isolation.tensors import TensorWriter, TypedArray, tensor_at
from iree_wasm_hal.vm.buffer import Buffer as VmBuffer

if TYPE_CHECKING:
    from iree_wasm_hal.isolation.channel import Message

__all__ = ["pack_value", "unpack_values"]

_VALUE, _FLOAT, _BYTES, _ARRAY, _VIEW = range(5)
_DOUBLE, _DOUBLE_BITS = struct.Struct("<d"), struct.Struct("<q")


def pack_value(value: object, tensors: TensorWriter) -> tuple[object, ...]:
    """A result as plain data.

    Raises:
        CallError: It is something that lives in this process alone.
    """
    if isinstance(value, float):  # by its bits, since a NaN has some that no text tells
        return _FLOAT, _DOUBLE_BITS.unpack(_DOUBLE.pack(value))[0]
    if isinstance(value, VmBuffer | bytes):
        array = np.frombuffer(value.view if isinstance(value, VmBuffer) else value, np.uint8)
        return _BYTES, ElementType.UINT_8, array.shape, tensors.place(array)
    if type(value) in PLAIN:
        return _VALUE, value
    if isinstance(value, np.ndarray):
        return _ARRAY, element_type_of(value.dtype), value.shape, tensors.place(value)
    if isinstance(value, BufferView) and not value.element_type & 7:
        array = value.to_numpy()
        return _VIEW, value.element_type, array.shape, tensors.place(array)
    kind = value.describe() if isinstance(value, BufferView) else type(value).__name__
    raise CallError(f"a {kind} cannot leave the process that the module runs in")


def unpack_values(content: object, message: Message) -> list[object]:
    """The results that were packed, with arrays of their own.

    Together they take no more memory than the message does: what a child announces is no reason to
    reserve any.

    Raises:
        InternalError: They are none.
    """
    left = message.segment_length
    results: list[object] = []
    with reading("results"):
        if not isinstance(content, list):
            raise TypeError(f"{content!r:.200} is no list")
        for packed in content:
            kind, value = _unpack_value(packed, message)
            if isinstance(value, TypedArray):
                left -= value.array.nbytes
                if left < 0:
                    raise ValueError(f"they are larger than the message, {message.segment_length}")
                value = _owned(kind, value)
            results.append(value)
    return results


def _unpack_value(packed: object, message: Message) -> tuple[int, object]:
    match packed:
        case [int(kind), int(bits)] if kind == _FLOAT:
            return kind, _DOUBLE.unpack(_DOUBLE_BITS.pack(bits))[0]
        case [int(kind), value] if kind == _VALUE and type(value) in PLAIN:
            return kind, value
        case [int(kind), int(element_type), list(shape), int(byte_offset)] if all(
            type(dimension) is int and dimension >= 0 for dimension in shape
        ):
            dtype, end = dtype_of(element_type), message.segment_length
            array = tensor_at(message.memory, byte_offset, tuple(shape), dtype, end)
            return kind, TypedArray(element_type, array)
        case _:
            raise InternalError(f"the child process sent {packed!r:.200} as a result")


def _owned(kind: int, tensor: TypedArray) -> object:
    if kind == _BYTES:
        return tensor.array.tobytes()
    array = np.array(tensor.array)
    return TypedArray(tensor.element_type, array) if kind == _VIEW else array
