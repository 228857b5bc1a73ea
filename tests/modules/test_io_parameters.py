from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import iree.runtime as rt
import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import save_file

import iree_wasm_hal as iwh

if TYPE_CHECKING:
    from pathlib import Path

if TYPE_CHECKING:
    from iree_wasm_hal.engine import Engine

LoadWasm = Callable[..., iwh.Module]

SOURCE = """
  util.global private @w = #flow.parameter.named<"model"::"w"> : tensor<4xf32>
  util.global private @b = #flow.parameter.named<"model"::"bias/x"> : tensor<2xi32>
  util.global private @n = #flow.parameter.named<"noscope"> : tensor<3xf64>
  func.func @main(%a: tensor<4xf32>) -> (tensor<4xf32>, tensor<2xi32>, tensor<3xf64>) {
    %w = util.global.load @w : tensor<4xf32>
    %b = util.global.load @b : tensor<2xi32>
    %n = util.global.load @n : tensor<3xf64>
    %0 = arith.addf %a, %w : tensor<4xf32>
    %1 = arith.addi %b, %b : tensor<2xi32>
    %2 = arith.addf %n, %n : tensor<3xf64>
    return %0, %1, %2 : tensor<4xf32>, tensor<2xi32>, tensor<3xf64>
  }
"""
W = np.array([1, 2, 3, 4], np.float32)
B = np.array([5, -6], np.int32)
N = np.array([0.1, 0.2, 0.3])
A = np.array([10, 20, 30, 40], np.float32)


def check(module: iwh.Module, w: npt.NDArray[Any] = W) -> None:
    results = module.main(A)
    for result, expected in zip(results, (A + w, B + B, N + N), strict=True):
        np.testing.assert_array_equal(result, expected)


def irpa(path: Path, arrays: dict[str, Any]) -> Path:
    index = rt.ParameterIndex()
    for key, value in arrays.items():
        if isinstance(value, tuple):
            index.add_splat(key, *value)
        else:
            index.add_buffer(key, value.tobytes())
    index.create_archive_file(str(path))
    return path


def test_parameters_from_every_kind_of_source(load_wasm: LoadWasm, tmp_path: Path) -> None:
    archive = irpa(tmp_path / "model.irpa", {"w": W, "bias/x": B})
    save_file({"w": W, "bias/x": B}, tmp_path / "model.safetensors")
    arrays = {"w": W, "bias/x": B}
    for source in (archive, str(archive), archive.read_bytes(), tmp_path / "model.safetensors"):
        check(load_wasm(SOURCE, parameters={"model": source, "": {"noscope": N}}))
    check(load_wasm(SOURCE, parameters={"model": arrays, "": {"noscope": N}}))
    parts = [irpa(tmp_path / "part.irpa", {"w": W}), {"bias/x": B}]
    check(load_wasm(SOURCE, parameters={"model": parts, "": {"noscope": N}}))


def test_splats(load_wasm: LoadWasm, tmp_path: Path) -> None:
    seven = np.array([7], np.float32).tobytes()
    pair = np.array([1, 2, 1, 2], np.float32)
    for pattern, expected in [(seven, np.full(4, 7, np.float32)), (pair.tobytes(), pair)]:
        source = irpa(tmp_path / "splat.irpa", {"w": (pattern, 16), "bias/x": B})
        module = load_wasm(SOURCE, parameters={"model": source, "": {"noscope": N}})
        check(module, expected)


def test_parameters_are_copied_once(load_wasm: LoadWasm, tmp_path: Path) -> None:
    source = irpa(tmp_path / "model.irpa", {"w": W, "bias/x": B})
    module = load_wasm(SOURCE, parameters={"model": source, "": {"noscope": N}})
    assert module.statistics.bytes_to_device == W.nbytes + B.nbytes + N.nbytes


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (None, "asks for parameters of scope 'model'; given are: none. Pass parameters="),
        ({"other": {}}, "given are: 'other'"),
        ({"model": {"w": W}, "": {"noscope": N}}, "scope 'model' has no parameter 'bias/x'"),
        (
            {"model": {"w": W[:3].copy(), "bias/x": B}, "": {"noscope": N}},
            "'w' of scope 'model' .* has 12 bytes; the program asks for 16",
        ),
    ],
)
def test_missing_parameters_say_what_is_missing(
    load_wasm: LoadWasm, parameters: Any, message: str
) -> None:
    with pytest.raises(iwh.InvocationError, match=message):
        load_wasm(SOURCE, parameters=parameters)


def test_a_missing_parameter_is_not_taken_for_a_missing_kernel(engine: Engine) -> None:
    archive = iwh.compile(SOURCE.encode(), target="wasm64,wasm32-simd128")
    with pytest.raises(iwh.InvocationError, match="asks for parameters of scope"):
        iwh.load(archive, engine=engine)


def test_damaged_archives_are_refused_before_the_program_runs(load_wasm: LoadWasm) -> None:
    with pytest.raises(iwh.ParameterError, match=r"<bytes>: archive version 9\.0 is unknown"):
        load_wasm(SOURCE, parameters={"model": b"IRPA\x09\0\0\0".ljust(100, b"\0")})


DIRECT = """
  util.func private @target() -> (!hal.device, !hal.buffer) {
    %c0 = arith.constant 0 : index
    %device = hal.devices.get %c0 : !hal.device
    %allocator = hal.device.allocator<%device : !hal.device> : !hal.allocator
    %c32 = arith.constant 32 : index
    %affinity = arith.constant -1 : i64
    %type = hal.memory_type<"HostVisible|DeviceVisible|DeviceLocal"> : i32
    %usage = hal.buffer_usage<"Transfer|Mapping"> : i32
    %buffer = hal.allocator.allocate<%allocator : !hal.allocator> affinity(%affinity)
        type(%type) usage(%usage) : !hal.buffer{%c32}
    util.return %device, %buffer : !hal.device, !hal.buffer
  }
  util.func public @gather(%wait: !hal.fence, %signal: !hal.fence) -> !hal.buffer_view {
    %device, %buffer = util.call @target() : () -> (!hal.device, !hal.buffer)
    %affinity = arith.constant -1 : i64
    %scope = util.buffer.constant : !util.buffer = "s"
    %a = util.buffer.constant : !util.buffer = "a"
    %b = util.buffer.constant : !util.buffer = "b"
    %p0 = arith.constant 0 : i64
    %p2 = arith.constant 2 : i64
    %c0 = arith.constant 0 : index
    %c8 = arith.constant 8 : index
    %c20 = arith.constant 20 : index
    %c12 = arith.constant 12 : index
    %c32 = arith.constant 32 : index
    io_parameters.gather<%device : !hal.device> affinity(%affinity) wait(%wait) signal(%signal) {
      %scope::%a[%p0] -> %buffer[%c0 for %c8] : !hal.buffer,
      %scope::%b[%p2] -> %buffer[%c8 for %c12] : !hal.buffer,
      %scope::%a[%p2] -> %buffer[%c20 for %c12] : !hal.buffer
    }
    %type = hal.element_type<i8> : i32
    %encoding = hal.encoding_type<dense_row_major> : i32
    %view = hal.buffer_view.create buffer(%buffer : !hal.buffer)[%c0, %c32] shape([%c32])
        type(%type) encoding(%encoding) : !hal.buffer_view
    util.return %view : !hal.buffer_view
  }
  util.func public @scatter(%view: !hal.buffer_view, %wait: !hal.fence, %signal: !hal.fence) {
    %c0 = arith.constant 0 : index
    %c4 = arith.constant 4 : index
    %device = hal.devices.get %c0 : !hal.device
    %affinity = arith.constant -1 : i64
    %scope = util.buffer.constant : !util.buffer = "s"
    %a = util.buffer.constant : !util.buffer = "a"
    %b = util.buffer.constant : !util.buffer = "b"
    %p0 = arith.constant 0 : i64
    %p2 = arith.constant 2 : i64
    %buffer = hal.buffer_view.buffer<%view : !hal.buffer_view> : !hal.buffer
    io_parameters.scatter<%device : !hal.device> affinity(%affinity) wait(%wait) signal(%signal) {
      %buffer[%c0 for %c4] : !hal.buffer -> %scope::%a[%p0],
      %buffer[%c4 for %c4] : !hal.buffer -> %scope::%b[%p2]
    }
    util.return
  }
"""


def test_gather_waits_and_signals(load_wasm: LoadWasm, tmp_path: Path) -> None:
    a = np.arange(16, dtype=np.int8)
    # A span that begins within a pattern, and whose length it does not divide.
    source = irpa(tmp_path / "s.irpa", {"a": a, "b": (b"\x01\x02\x03\x04\x05\x06\x07\x08", 24)})
    module = load_wasm(DIRECT, parameters={"s": source})
    wait, signal = iwh.Fence(), iwh.Fence()
    view = module.gather(wait, signal)
    assert not signal.is_reached
    wait.signal()
    assert signal.is_reached
    expected = [*a[:8], 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, *a[2:14]]
    np.testing.assert_array_equal(view, expected)
    np.testing.assert_array_equal(module.gather(None, None), expected)


def test_scatter_writes_into_arrays_and_not_into_files(load_wasm: LoadWasm, tmp_path: Path) -> None:
    a, b = np.zeros(6, np.int8), np.zeros(6, np.int8)
    module = load_wasm(DIRECT, parameters={"s": {"a": a, "b": b}})
    module.scatter(np.arange(1, 9, dtype=np.int8), None, None)
    np.testing.assert_array_equal(a, [1, 2, 3, 4, 0, 0])
    np.testing.assert_array_equal(b, [0, 0, 5, 6, 7, 8])
    path = irpa(tmp_path / "s.irpa", {"a": a, "b": (b"\0", 24)})
    before = path.read_bytes()
    read_only = np.zeros(6, np.int8)
    read_only.flags.writeable = False
    for source in (path, {"a": read_only, "b": b}):
        module = load_wasm(DIRECT, parameters={"s": source})
        signal = iwh.Fence()
        with pytest.raises(iwh.InvocationError, match="not opened for writing"):
            module.scatter(np.arange(8, dtype=np.int8), None, signal)
        with pytest.raises(iwh.InvocationError):
            signal.wait(1)
    assert path.read_bytes() == before
