"""What the parent sends: any values that can be pickled, their arrays through shared memory."""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np

from iree_wasm_hal.errors import ArgumentError, Error
from iree_wasm_hal.hal.buffer_view import BufferView
from iree_wasm_hal.hal.fence import Fence
from iree_wasm_hal.isolation.tensors import TensorWriter, tensor_at

if TYPE_CHECKING:
    import mmap

__all__ = ["pack_request", "unpack_request"]

_BOUND_TO_DEVICES = (BufferView, Fence)


def pack_request(values: object) -> tuple[bytes, TensorWriter]:
    """The body of a message, and the tensors that it speaks of.

    Raises:
        ArgumentError: A value cannot leave the process.
    """
    stream = io.BytesIO()
    pickler = _Pickler(stream)
    try:
        pickler.dump(values)
    except Error:
        raise
    except Exception as error:  # pickle calls the values' own methods, which may raise anything
        raise ArgumentError(f"cannot be sent to the module's process: {error}") from error
    return stream.getvalue(), pickler.writer


def unpack_request(body: bytes, memory: mmap.mmap | None) -> Any:
    """What ``pack_request`` was given; its arrays are views of ``memory``."""
    return _Unpickler(body, memory).load()


class _Pickler(pickle.Pickler):
    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, protocol=5)
        self.writer = TensorWriter()

    def persistent_id(self, value: object) -> object:
        """Takes arrays out of the stream of bytes."""
        if isinstance(value, _BOUND_TO_DEVICES):
            raise ArgumentError(
                f"a {type(value).__name__} belongs to a device of this process; pass an array"
            )
        if type(value) is np.ndarray and not value.dtype.hasobject:
            return self.writer.place(value), value.shape, value.dtype
        return None


class _Unpickler(pickle.Unpickler):
    def __init__(self, body: bytes, memory: mmap.mmap | None) -> None:
        super().__init__(io.BytesIO(body))
        self._memory = memory

    def persistent_load(self, place: Any) -> Any:
        """Finds an array again."""
        byte_offset, shape, dtype = place
        return tensor_at(self._memory, byte_offset, shape, dtype)
