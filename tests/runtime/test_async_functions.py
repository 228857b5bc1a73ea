from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

import iree_wasm_hal as iwh

LoadWasm = Callable[..., iwh.Module]

SOURCE = """
  func.func @double(%a: tensor<?xf32>) -> tensor<?xf32> {
    %0 = arith.addf %a, %a : tensor<?xf32>
    return %0 : tensor<?xf32>
  }
  func.func @both(%a: tensor<4xi32>, %b: tensor<4xi32>) -> (tensor<4xi32>, tensor<4xi32>) {
    %0 = arith.addi %a, %b : tensor<4xi32>
    %1 = arith.muli %a, %b : tensor<4xi32>
    return %0, %1 : tensor<4xi32>, tensor<4xi32>
  }
"""
ASYNC = "--iree-execution-model=async-external"
A = np.arange(4, dtype=np.float32)


@pytest.fixture
def module(load_wasm: LoadWasm) -> iwh.Module:
    return load_wasm(SOURCE, ASYNC)


def test_a_call_waits(module: iwh.Module) -> None:
    assert module.double.is_async
    np.testing.assert_array_equal(module.double(A), A * 2)
    i = np.arange(4, dtype=np.int32)
    total, product = module.both(i, i)
    np.testing.assert_array_equal(total, i * 2)
    np.testing.assert_array_equal(product, i * i)


def test_wrong_arguments_do_not_count_the_fences(module: iwh.Module) -> None:
    with pytest.raises(iwh.ArgumentError, match="double takes 1 argument, got 2"):
        module.double(A, A)
    with pytest.raises(iwh.ArgumentError, match=r"expected \?xf32 .*, got 4xf64"):
        module.double(A.astype(np.float64))


def test_work_begins_when_another_thread_signals(module: iwh.Module) -> None:
    fence = iwh.Fence()
    pending = module.double.invoke_async(A, wait=fence)
    assert not pending.is_done
    with pytest.raises(TimeoutError, match=r"no result within 0\.01 s"):
        pending.results(0.01)
    with pytest.raises(iwh.CallError):
        pending.results(0)
    thread = threading.Thread(target=fence.signal)
    thread.start()
    np.testing.assert_array_equal(pending.results(10), A * 2)
    thread.join()
    assert pending.is_done
    assert pending.fence.is_reached


def test_calls_chain_by_fences(module: iwh.Module) -> None:
    gate = iwh.Fence()
    i = np.full(4, 3, np.int32)
    first = module.both.invoke_async(i, i, wait=gate)
    second = module.both.invoke_async(i, i + 1, wait=first.fence)
    assert not second.is_done
    gate.signal()
    np.testing.assert_array_equal(second.results(10)[0], i * 2 + 1)
    np.testing.assert_array_equal(first.results(10)[1], i * i)


def test_a_failed_wait_fails_the_call(module: iwh.Module) -> None:
    fence = iwh.Fence()
    pending = module.double.invoke_async(A, wait=fence)
    fence.fail(iwh.InvocationError("the camera is gone", status="UNAVAILABLE"))
    with pytest.raises(iwh.InvocationError, match="the camera is gone"):
        pending.results(10)
    np.testing.assert_array_equal(module.double(A), A * 2)


def test_sync_functions_have_no_async_form(load_wasm: LoadWasm) -> None:
    module = load_wasm(SOURCE)
    assert not module.double.is_async
    with pytest.raises(iwh.ArgumentError, match="sync function; compile the model with"):
        module.double.invoke_async(A)


TORCH = """
  func.func @main(%arg0: !torch.vtensor<[?,4],f32>, %arg1: !torch.vtensor<[?,4],f32>)
      -> !torch.vtensor<[?,4],f32>
      attributes {torch.onnx_meta.ir_version = 7 : si64,
                  torch.onnx_meta.opset_version = 21 : si64} {
    %0 = torch.operator "onnx.Add"(%arg0, %arg1)
       : (!torch.vtensor<[?,4],f32>, !torch.vtensor<[?,4],f32>) -> !torch.vtensor<[?,4],f32>
    return %0 : !torch.vtensor<[?,4],f32>
  }
"""


def test_importer_pairs_without_declarations(load_wasm: LoadWasm) -> None:
    module = load_wasm(TORCH, "--iree-input-type=onnx")
    assert set(module) == {"main", "main$async"}
    a = np.arange(8, dtype=np.float32).reshape(2, 4)
    np.testing.assert_array_equal(module.main(a, a), a * 2)
    assert not module.main.is_async
    assert module["main$async"].is_async
    np.testing.assert_array_equal(module["main$async"](a, a), a * 2)
    assert module.functions["main"] == "main(ref, ref) -> (ref)"


def test_without_a_declaration_the_program_checks_its_arguments(load_wasm: LoadWasm) -> None:
    module = load_wasm(TORCH, "--iree-input-type=onnx")
    a = np.zeros((2, 4), np.float32)
    with pytest.raises(
        iwh.ArgumentError, match="argument 1: tensor: expected 2x4xf32, got 2x5xf32"
    ):
        module.main(a, np.zeros((2, 5), np.float32))
    with pytest.raises(
        iwh.ArgumentError, match="argument 0: tensor: expected 2x4xf32, got 2x4xf64"
    ):
        module.main(a.astype(np.float64), a)
    with pytest.raises(iwh.ArgumentError, match="main takes 2 arguments, got 1"):
        module.main(a)
    with pytest.raises(iwh.ArgumentError, match="argument 0: expected a numpy array, got list"):
        module.main([[1.0] * 4], a)
    np.testing.assert_array_equal(module.main(a, a), a)
