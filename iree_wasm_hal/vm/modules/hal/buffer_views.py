"""``hal.buffer_view.*``: shaped and typed views of buffers, a program's tensors."""

from __future__ import annotations

from iree_wasm_hal.errors import ArgumentError, InvocationError
from iree_wasm_hal.hal.buffer import Buffer
from iree_wasm_hal.hal.buffer_view import BufferView
from iree_wasm_hal.hal.elements import ENCODING_OPAQUE, element_name, element_types_compatible
from iree_wasm_hal.vm.buffer import Buffer as VmBuffer
from iree_wasm_hal.vm.modules.hal.table import FunctionTable, expect, wrong_ref

__all__ = ["TABLE", "TensorMismatchError"]

TABLE = FunctionTable()


class TensorMismatchError(InvocationError, ArgumentError):
    """A program's own check of a tensor failed; mostly that of an argument.

    Both what a caller did wrong (ArgumentError) and a failure of the program (INVALID_ARGUMENT).

    Attributes:
        view: What was checked.
    """

    def __init__(self, message: str, view: BufferView) -> None:
        super().__init__(message, status="INVALID_ARGUMENT")
        self.view = view


@TABLE.serve("buffer_view.create", "0rIIiiCID_r")
def buffer_view_create(
    buffer: object,
    byte_offset: int,
    byte_length: int,
    element_type: int,
    encoding_type: int,
    shape: tuple[int, ...],
) -> BufferView:
    """A view of a range of a buffer."""
    if type(buffer) is not Buffer:
        wrong_ref(buffer, Buffer, "buffer_view.create")
    if byte_offset or byte_length != buffer.byte_length:
        buffer = buffer.subspan(byte_offset, byte_length)
    return BufferView(buffer, shape, element_type, encoding_type)


@TABLE.serve("buffer_view.assert", "0rriiCID_v")
def buffer_view_assert(
    view: object,
    name_buffer: object,
    element_type: int,
    encoding_type: int,
    shape: tuple[int, ...],
) -> None:
    """Fails unless the view has the asked encoding, element type and shape."""
    if type(view) is not BufferView:
        wrong_ref(view, BufferView, "buffer_view.assert")
    if (
        view.shape == shape
        and view.element_type == element_type
        and view.encoding_type == encoding_type
    ):
        return
    name = expect(name_buffer, VmBuffer, "buffer_view.assert: message").text()
    if view.encoding_type not in (ENCODING_OPAQUE, encoding_type):
        raise TensorMismatchError(
            f"{name}: expected encoding {encoding_type:#x}, got {view.encoding_type:#x}", view
        )
    if view.shape != shape or not element_types_compatible(view.element_type, element_type):
        expected = "x".join([*map(str, shape), element_name(element_type)])
        message = f"{name}: expected {expected}, got {view.describe()}"
        raise TensorMismatchError(message, view)


@TABLE.serve("buffer_view.buffer", "0r_r")
def buffer_view_buffer(view: object) -> Buffer:
    """The buffer behind a view."""
    if type(view) is not BufferView:
        wrong_ref(view, BufferView, "buffer_view.buffer")
    return view.buffer


@TABLE.serve("buffer_view.element_type", "0r_i")
def buffer_view_element_type(view: object) -> int:
    """The element type code."""
    return expect(view, BufferView, "buffer_view.element_type").element_type


@TABLE.serve("buffer_view.encoding_type", "0r_i")
def buffer_view_encoding_type(view: object) -> int:
    """The encoding type code."""
    return expect(view, BufferView, "buffer_view.encoding_type").encoding_type


@TABLE.serve("buffer_view.rank", "0r_i")
def buffer_view_rank(view: object) -> int:
    """Number of dimensions."""
    return len(expect(view, BufferView, "buffer_view.rank").shape)


@TABLE.serve("buffer_view.dim", "0ri_I")
def buffer_view_dim(view: object, index: int) -> int:
    """One dimension; 0 for an index out of range, as in IREE."""
    if type(view) is not BufferView:
        wrong_ref(view, BufferView, "buffer_view.dim")
    shape = view.shape
    return shape[index] if 0 <= index < len(shape) else 0
