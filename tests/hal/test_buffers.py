"""Buffers, buffer views, element types and files without any kernel."""

from __future__ import annotations

import gc
import mmap
import os
import sys
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iree_wasm_hal.errors import ArgumentError, ClosedError, InvocationError
from iree_wasm_hal.hal import elements
from iree_wasm_hal.hal.buffer import WHOLE_BUFFER, MemoryAccess
from iree_wasm_hal.hal.buffer_view import BufferView
from iree_wasm_hal.hal.elements import ElementType, dtype_of, element_name, element_type_of
from iree_wasm_hal.hal.fence import Fence
from iree_wasm_hal.hal.file import File

if TYPE_CHECKING:
    from pathlib import Path

    from iree_wasm_hal.hal.device import Device

U8 = np.dtype("uint8")


def upload(device: Device, array: np.ndarray[Any, Any]) -> BufferView:
    buffer = device.allocator.upload(array)
    return BufferView(buffer, array.shape, element_type_of(array.dtype))


DTYPES = [
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
    *("bfloat16", "float8_e5m2", "float8_e4m3fn", "float8_e5m2fnuz", "float8_e4m3fnuz"),
]


@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype_goes_in_and_comes_out(device: Device, name: str) -> None:
    dtype = np.dtype(getattr(ml_dtypes, name, name))
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    view = upload(device, array)
    assert view.byte_length == array.nbytes
    assert view.buffer.read() == array.tobytes()
    out = view.to_numpy()
    assert out.dtype == dtype
    np.testing.assert_array_equal(out, array)


def test_element_codes_agree_with_ireess_own_table() -> None:
    from iree.runtime import HalElementType

    renamed = [("COMPLEX_FLOAT", "COMPLEX"), ("E4M3_F", "E4M3F"), ("_FNU", "FNU")]
    for name, member in HalElementType.__members__.items():
        ours = name
        for theirs, replacement in renamed:
            ours = ours.replace(theirs, replacement)
        assert getattr(ElementType, ours) == int(member), name


def test_element_names_go_there_and_back() -> None:
    for name in ("i1", "i8", "si16", "ui32", "i64", "f16", "bf16", "f32", "f8E4M3FN", "cf64"):
        assert element_name(elements.element_type_from_name(name)) == name
    assert elements.element_type_from_name("complex<f32>") == ElementType.COMPLEX_64
    with pytest.raises(ArgumentError, match="unknown element type 'f33'"):
        elements.element_type_from_name("f33")
    with pytest.raises(ArgumentError, match=r"i4 has no numpy dtype \(elements of 4 bits"):
        dtype_of(ElementType.INT_4)
    with pytest.raises(ArgumentError, match="element type 0x12345678 has no numpy dtype"):
        dtype_of(0x12345678)
    with pytest.raises(ArgumentError, match="dtype <U3 has no IREE element type"):
        element_type_of(np.dtype("<U3"))
    assert element_type_of(np.dtype(">f4")) == ElementType.FLOAT_32


def test_compatible_element_types() -> None:
    compatible = elements.element_types_compatible
    assert compatible(ElementType.SINT_32, ElementType.INT_32)
    assert compatible(ElementType.OPAQUE_8, ElementType.FLOAT_64)
    assert compatible(ElementType.BOOL_8, ElementType.INT_8)
    assert not compatible(ElementType.SINT_32, ElementType.INT_64)
    assert not compatible(ElementType.FLOAT_32, ElementType.INT_32)
    assert not compatible(ElementType.BFLOAT_16, ElementType.FLOAT_16)


def test_missing_ml_dtypes_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(elements._DTYPES, ElementType.BFLOAT_16, raising=False)
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(ArgumentError, match=r"pip install 'iree-wasm-hal\[ml-dtypes\]'"):
        dtype_of(ElementType.BFLOAT_16)


@given(
    shape=st.lists(st.integers(0, 4), max_size=4).map(tuple),
    order=st.sampled_from(["C", "F", "reversed", "strided"]),
    dtype=st.sampled_from(["<f4", ">f4", ">i2", "?", "<c8", ">u8"]),
)
def test_any_layout_is_uploaded_dense(
    session_device: Device, shape: tuple[int, ...], order: str, dtype: str
) -> None:
    array: np.ndarray[Any, Any] = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    if order == "F" and shape:
        array = np.asfortranarray(array)
    elif order == "reversed" and shape:
        array = array[::-1]
    elif order == "strided" and shape:
        array = np.repeat(array, 2, axis=0)[::2]
    view = upload(session_device, array)
    dense = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    assert view.buffer.read() == dense.tobytes()
    np.testing.assert_array_equal(view.to_numpy(), array)
    assert view.to_numpy().shape == shape


GRID = np.arange(12, dtype="<u2").reshape(3, 4)


@pytest.mark.parametrize(
    "array",
    [GRID, GRID[:, ::2], GRID[::-1], GRID.T, GRID.astype(">u2"), GRID[:0], GRID[0, 0]],
    ids=["dense", "strided", "reversed", "transposed", "big-endian", "empty", "scalar"],
)
def test_memory_of_any_layout_is_written_row_by_row(
    device: Device, array: np.ndarray[Any, Any]
) -> None:
    data, expected = array.data, array.tobytes()
    assert device.allocator.import_buffer(data).read() == expected
    length = len(expected)
    for way in ("write", "queue", "record"):
        buffer = device.allocator.upload(np.zeros(length + 1, np.uint8))
        if way == "write":
            buffer.write(1, data)
        elif way == "queue":
            device.queue_update(None, None, data, buffer, 1)
        else:
            recorded = device.create_command_buffer()
            recorded.update_buffer(data, buffer, 0, 1)
            with pytest.raises(InvocationError, match="OUT_OF_RANGE"):
                recorded.update_buffer(data, buffer, 0, 2)
            recorded.finalize()
            device.queue_execute(None, None, recorded)
        assert buffer.read() == b"\0" + expected, way


def test_an_array_keeps_its_allocation_alive(device: Device) -> None:
    used = device.allocator.statistics.used
    view = upload(device, np.arange(1000, dtype="int32"))
    array = view.to_numpy()
    derived = array.reshape(10, 100)[3, ::2]
    del view, array
    noise = [upload(device, np.full(1000, -1, "int32")) for _ in range(4)]
    np.testing.assert_array_equal(derived, np.arange(300, 400, 2))
    assert device.allocator.statistics.used == used + 5 * 4032
    del noise, derived
    assert device.allocator.statistics.used == used


def test_reference_counting_alone_frees(device: Device) -> None:
    used = device.allocator.statistics.used
    gc.disable()
    try:
        for _ in range(100):
            view = upload(device, np.zeros(100_000))
            view.buffer.subspan(64).view()[0] = 1
            view.to_numpy()
            fence = Fence()
            device.queue_fill(None, fence, view.buffer, 0, 8, 0, 8)
        del view
        assert device.allocator.statistics.used == used
    finally:
        gc.enable()


def test_subspans_share_the_allocation(device: Device) -> None:
    buffer = device.allocator.upload(np.arange(64, dtype=U8))
    part = buffer.subspan(10, 20).subspan(5)
    assert (part.byte_offset, part.byte_length) == (15, 15)
    assert part.read() == bytes(range(15, 30))
    part.write(1, b"xy")
    assert buffer.read(16, 2) == b"xy"
    assert buffer.subspan(0, WHOLE_BUFFER) is buffer
    assert part.allocation is buffer.allocation
    for bad in ((65, 0), (0, 65), (-1, 4), (60, 5), (1 << 62, 1 << 62)):
        with pytest.raises(InvocationError, match="outside a buffer of 64 bytes") as caught:
            buffer.subspan(*bad)
        assert caught.value.status == "OUT_OF_RANGE"
    assert buffer.load(2, 4) == int.from_bytes(bytes([2, 3, 4, 5]), "little")
    buffer.store(-2, 0, 2)
    assert buffer.load(0, 1) == 0xFE
    assert buffer.load(0, 2) == 0xFFFE
    with pytest.raises(InvocationError, match="scalar access of 3 bytes"):
        buffer.load(0, 3)
    with pytest.raises(InvocationError, match="outside a buffer"):
        buffer.store(0, 61, 4)


def test_ownership_counts_as_iree_has_them(device: Device) -> None:
    buffer = device.queue_alloca(None, None, 0, 0, 16)
    part = buffer.subspan(4, 4)
    assert buffer.allocation_is_terminal()
    part.allocation_preserve()
    assert not buffer.allocation_is_terminal()
    assert not buffer.allocation_discard()
    assert part.allocation_is_terminal()
    assert buffer.allocation_discard()


def test_use_after_queue_dealloca(device: Device) -> None:
    used = device.allocator.statistics.used
    buffer = device.queue_alloca(None, None, 0, 0, 4096)
    part = buffer.subspan(16, 16)
    device.queue_fill(None, None, buffer, 0, 4096, 5, 1)
    array = part.ndarray((16,), U8)
    device.queue_dealloca(None, None, buffer)
    for use in (
        lambda: part.guest_ptr,
        part.view,
        lambda: part.ndarray((4,), U8),
        lambda: device.queue_fill(None, None, buffer, 0, 4, 0, 4),
        lambda: device.queue_dealloca(None, None, buffer),
    ):
        with pytest.raises(InvocationError, match="after its queue dealloca") as caught:
            use()
        assert caught.value.status == "FAILED_PRECONDITION"
    assert "deallocated" in repr(buffer)
    # The array still holds the storage; nobody else gets it meanwhile.
    other = device.queue_alloca(None, None, 0, 0, 4096)
    device.queue_fill(None, None, other, 0, 4096, 9, 1)
    np.testing.assert_array_equal(array, 5)
    del array, other
    assert device.allocator.statistics.used == used


def test_dealloca_of_other_buffers_is_only_a_barrier(device: Device) -> None:
    uploaded = device.allocator.upload(np.arange(4))
    indeterminate = device.queue_alloca(None, None, 0, 0, 16, 1)
    for buffer in (uploaded, indeterminate):
        fence = Fence()
        device.queue_dealloca(None, fence, buffer)
        assert fence.is_reached
        assert buffer.guest_ptr


def test_buffer_views_check_their_size(device: Device) -> None:
    buffer = device.allocator.allocate_buffer(24)
    view = BufferView(buffer, (2, 3), ElementType.FLOAT_32)
    assert (view.rank, view.element_count, view.byte_length) == (2, 6, 24)
    assert repr(view) == "<hal.buffer_view 2x3xf32>"
    assert BufferView(buffer, (), ElementType.FLOAT_64).to_numpy().shape == ()
    assert BufferView(buffer, (0, 5), ElementType.FLOAT_64).to_numpy().size == 0
    assert BufferView(buffer, (48,), ElementType.INT_4).byte_length == 24
    for shape in ((7,), (2, 4), (-1, -6), (1 << 40, 1 << 40)):
        with pytest.raises(InvocationError, match="its buffer has 24"):
            BufferView(buffer, shape, ElementType.FLOAT_32)
    with pytest.raises(InvocationError, match="allocation of -1 bytes"):
        device.allocator.allocate_buffer(-1)


def test_files_read_into_buffers(device: Device, tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(bytes(range(256)) * 16)
    fd = os.open(path, os.O_RDWR)
    in_range = File.from_fd(fd, 256, 512, MemoryAccess.READ | MemoryAccess.WRITE)
    os.close(fd)  # the file has its own descriptor
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        in_memory = File.from_memory(mapped)
        for file, start in ((in_range, 256), (in_memory, 0)):
            buffer = device.allocator.upload(np.zeros(100, U8))
            device.queue_read(None, None, file, 10, buffer, 20, 60)
            expected = bytes(range(256)) * 16
            assert buffer.read(20, 60) == expected[start + 10 : start + 70]
            assert buffer.read(0, 20) == bytes(20)
            for bad in ((file.byte_length - 59, 20, 60), (-1, 0, 4), (0, 90, 60)):
                with pytest.raises(InvocationError, match="outside a"):
                    device.queue_read(None, None, file, bad[0], buffer, *bad[1:])
        with pytest.raises(InvocationError, match="not opened for writing"):
            device.queue_write(None, None, buffer, 0, in_memory, 0, 4)
        in_memory.close()
    device.queue_write(None, None, buffer, 20, in_range, 0, 60)
    assert path.read_bytes()[256:316] == path.read_bytes()[10:70]
    statistics = device.statistics
    assert statistics.bytes_to_device == 200 + 120
    assert statistics.bytes_from_device == 60
    path.write_bytes(b"short")
    with pytest.raises(InvocationError, match="the file ends at byte 256") as caught:
        device.queue_read(None, None, in_range, 0, buffer, 0, 10)
    assert caught.value.status == "DATA_LOSS"
    in_range.close()
    in_range.close()
    with pytest.raises(ClosedError):
        device.queue_read(None, None, in_range, 0, buffer, 0, 10)


def test_files_check_what_they_are_given(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(b"12345678")
    fd = os.open(path, os.O_RDONLY)
    with pytest.raises(InvocationError, match="outside a file of 8 bytes"):
        File.from_fd(fd, 4, 5)
    with pytest.raises(InvocationError, match="outside a file of 8 bytes"):
        File.from_fd(fd, 9)
    os.close(fd)
    with pytest.raises(InvocationError, match="read-only host memory"):
        File.from_memory(b"abc", MemoryAccess.WRITE)
    target = bytearray(4)
    writable = File.from_memory(target, MemoryAccess.READ | MemoryAccess.WRITE)
    writable.write_from(1, memoryview(b"xy"))
    assert target == b"\0xy\0"


def test_queries_answer_as_local_devices_do(device: Device) -> None:
    query = device.query_i64
    assert query("hal.device.id", "local*") == (True, 1)
    assert query("hal.device.id", "local-w?sm") == (True, 1)
    assert query("hal.device.id", "local-task") == (True, 0)
    assert query("hal.device.id", "[l]ocal-wasm") == (True, 0)
    for matching in ("*", "**", "local-wasm", "l*-*m*", "*l*wasm", "?????-*"):
        assert query("hal.device.id", matching) == (True, 1), matching
    for other in ("", "?", "local", "local-wasm?", "*w", "wasm*", "l*l*l*m"):
        assert query("hal.device.id", other) == (True, 0), other
    assert query("hal.device", "concurrency") == (True, 1)
    assert query("hal.dispatch", "concurrency") == (True, 1)
    assert query("hal.device", "warp_size") == (False, 0)
    assert query("hal.cpu", "avx512") == (False, 0)
    taken = {
        name: query("hal.executable.format", name)[1]
        for name in (
            "system-wasm-wasm_32",
            "system-wasm-wasm_32-simd128",
            "system-wasm-wasm_32-simd128-relaxed",
            "system-wasm-wasm_32-teleport",
            "system-wasm-wasm_64",
            "embedded-elf-x86_64",
            "system-wasm-wasm_3",
        )
    }
    assert list(taken.values()) == [1, 1, 1, 0, 0, 0, 0]
    assert device.refused_formats == [name for name, answer in taken.items() if not answer]
