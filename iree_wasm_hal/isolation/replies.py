"""What comes back: plain data and tensors, checked as whatever a stranger sends."""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from iree_wasm_hal.errors import CallError, Error, InternalError
from iree_wasm_hal.hal.buffer_view import BufferView
from iree_wasm_hal.hal.elements import dtype_of, element_type_of
from iree_wasm_hal.isolation.tensors import TensorWriter, TypedArray, tensor_at
from iree_wasm_hal.vm.buffer import Buffer as VmBuffer

if TYPE_CHECKING:
    import mmap

__all__ = ["pack_plain", "pack_value", "unpack_plain", "unpack_value"]

_PLAIN = frozenset({type(None), bool, int, float, str, bytes})
_VALUE, _ARRAY, _VIEW = range(3)


def pack_plain(values: object) -> bytes:
    """The body of a message of plain data."""
    return pickle.dumps(values, 5)


def unpack_plain(body: bytes) -> Any:
    """What ``pack_plain`` was given.

    Raises:
        InternalError: It is anything but plain data.
    """
    try:
        return _PlainUnpickler(io.BytesIO(body)).load()
    except Error:
        raise
    except Exception as error:  # whatever the bytes make of pickle's machine
        raise InternalError(f"an unreadable message of the child process: {error}") from error


def pack_value(value: object, tensors: TensorWriter) -> tuple[object, ...]:
    """A result as plain data.

    Raises:
        CallError: It is something that lives in this process alone.
    """
    if type(value) in _PLAIN:
        return _VALUE, value
    if isinstance(value, VmBuffer):
        return _VALUE, bytes(value.view)
    if isinstance(value, np.ndarray):
        return _ARRAY, element_type_of(value.dtype), value.shape, tensors.place(value)
    if isinstance(value, BufferView) and not value.element_type & 7:
        array = value.to_numpy()
        return _VIEW, value.element_type, array.shape, tensors.place(array)
    kind = value.describe() if isinstance(value, BufferView) else type(value).__name__
    raise CallError(f"a {kind} cannot leave the process that the module runs in")


def unpack_value(packed: object, memory: mmap.mmap | None) -> object:
    """The result that was packed, with arrays of its own.

    Raises:
        InternalError: It is none.
    """
    match packed:
        case (int(kind), value) if kind == _VALUE and type(value) in _PLAIN:
            return value
        case (int(kind), int(element_type), tuple(shape), int(byte_offset)) if all(
            type(dimension) is int and dimension >= 0 for dimension in shape
        ):
            array = np.array(tensor_at(memory, byte_offset, shape, dtype_of(element_type)))
            return TypedArray(element_type, array) if kind == _VIEW else array
        case _:
            raise InternalError(f"the child process sent {packed!r:.200} as a result")


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> NoReturn:
        """Looks nothing up."""
        raise InternalError(f"the child process sent {module_name}.{global_name}, no plain data")
