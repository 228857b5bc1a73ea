from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import iree_wasm_hal as iwh

LoadWasm = Callable[..., iwh.Module]

SOURCE = """
  func.func @add(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32> {
    %0 = arith.addf %a, %b : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
  func.func @double(%a: tensor<?x3xi32>) -> tensor<?x3xi32> {
    %0 = arith.addi %a, %a : tensor<?x3xi32>
    return %0 : tensor<?x3xi32>
  }
  func.func @negate(%a: tensor<f32>) -> tensor<f32> {
    %0 = arith.negf %a : tensor<f32>
    return %0 : tensor<f32>
  }
  func.func @invert(%a: tensor<3xi1>) -> tensor<3xi1> {
    %true = arith.constant dense<true> : tensor<3xi1>
    %0 = arith.xori %a, %true : tensor<3xi1>
    return %0 : tensor<3xi1>
  }
  func.func @scalars(%a: i32, %b: f32, %c: i1, %d: i64) -> (i32, f32, i1, i64) {
    return %a, %b, %c, %d : i32, f32, i1, i64
  }
"""
F4 = np.ones(4, np.float32)


@pytest.fixture
def module(load_wasm: LoadWasm) -> iwh.Module:
    return load_wasm(SOURCE)


def test_functions_are_listed_with_their_declared_signatures(module: iwh.Module) -> None:
    assert list(module) == ["add", "double", "negate", "invert", "scalars"]
    assert module.functions["add"] == (
        "sync func @add(%input0: tensor<4xf32>, %input1: tensor<4xf32>)"
        " -> (%output0: tensor<4xf32>)"
    )
    assert "add" in module
    assert "add" in dir(module)
    assert module.add is module["add"]
    with pytest.raises(AttributeError, match="exports no function 'sub'; it exports: add, double"):
        getattr(module, "sub")  # noqa: B009 - a statement of its own
    with pytest.raises(KeyError, match="exports no function 'sub'"):
        module["sub"]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("add", (), r"add takes 2 arguments, got 0; it is declared as sync func @add"),
        ("add", (F4,) * 3, "add takes 2 arguments, got 3"),
        ("add", (F4, F4[:3]), r"argument 1 \(input1\): expected 4xf32 .*, got 3xf32"),
        ("add", (F4[None], F4), r"argument 0 \(input0\): expected 4xf32 .*, got 1x4xf32"),
        ("add", (F4, F4.astype("f8")), r"expected 4xf32 \(dtype float32\), got 4xf64"),
        ("add", (F4, F4.astype("i4")), r"expected 4xf32 \(dtype float32\), got 4xi32"),
        ("add", (F4, np.array(list("abcd"))), r"got shape \(4,\) \(dtype <U1\)"),
        ("add", (F4, None), r"expected 4xf32 \(dtype float32\), got NoneType"),
        ("add", (F4, "x"), "got str"),
        ("add", (F4, [1, 2, 3]), "expected 4xf32 .*, got 3xf32"),
        ("add", (F4, [[1, 2], [3]]), "got a list: .*inhomogeneous"),
        ("add", (F4, [True] * 4), "got Python values of type bool"),
        ("double", (np.zeros((2, 4), np.int32),), r"expected \?x3xi32 .*, got 2x4xi32"),
        ("double", ([[1.5, 2, 3]],), "got Python values of type float64"),
        ("double", ([[2**31, 2, 3]],), "got a value outside -2147483648 to 2147483647"),
        ("invert", (np.zeros(3, np.int8),), r"expected 3xi1 \(dtype bool\), got 3xi8"),
        ("invert", ([0, 1, 0],), "got Python values of type int64"),
        ("negate", (np.zeros(1, np.float32),), "expected f32 .*, got 1xf32"),
        ("scalars", (1.5, 0, 0, 0), r"argument 0 \(input0\): expected i32, got float 1.5"),
        (
            "scalars",
            (2**32, 0, 0, 0),
            r"expected i32 \(-2147483648 to 4294967295\), got 4294967296",
        ),
        ("scalars", (True, 0, 0, 0), "expected i32, got bool"),
        ("scalars", (F4, 0, 0, 0), r"expected i32, got an array of shape \(4,\) and dtype float32"),
        ("scalars", (0, "x", 0, 0), "expected f32, got str 'x'"),
        ("scalars", (0, 1e39, 0, 0), "which f32 cannot hold"),
        ("scalars", (0, 0, 2, 0), r"expected i1 \(0 to 1\), got 2"),
        ("scalars", (0, 0, 0, 2**64), "expected i64"),
    ],
)
def test_wrong_arguments_are_named_with_expected_and_got(
    module: iwh.Module, name: str, arguments: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(iwh.ArgumentError, match=message):
        module[name](*arguments)
    np.testing.assert_array_equal(module.add(F4, F4), F4 + F4)


def test_any_strides_and_byte_order_work(module: iwh.Module) -> None:
    base = np.arange(64, dtype=np.float32)
    for a in (
        base[:16:4],
        base[10:2:-2],
        base[:4].astype(">f4"),
        base[:16].astype(">f4")[::-4],
        base.reshape(8, 8).T[1, :4],
        np.broadcast_to(np.float32(3), 4),
    ):
        np.testing.assert_array_equal(module.add(a, a), a * 2)
    matrix = np.arange(12, dtype=np.int32).reshape(3, 4)
    np.testing.assert_array_equal(module.double(matrix.T), matrix.T * 2)
    np.testing.assert_array_equal(module.double(np.asfortranarray(matrix.T)), matrix.T * 2)
    read_only = np.ones(4, np.float32)
    read_only.flags.writeable = False
    np.testing.assert_array_equal(module.add(read_only, read_only), read_only * 2)
    unaligned = np.frombuffer(bytes(17), np.float32, 4, 1)
    np.testing.assert_array_equal(module.add(unaligned, F4), F4)


def test_zero_size_arrays_work(module: iwh.Module) -> None:
    result = module.double(np.zeros((0, 3), np.int32))
    assert result.shape == (0, 3)
    assert result.dtype == np.int32


def test_python_values_are_taken_where_they_are_exact(module: iwh.Module) -> None:
    np.testing.assert_array_equal(module.add([1, 2.5, 3, 4], (0, 0, 0, 1)), [1, 2.5, 3, 5])
    np.testing.assert_array_equal(module.double([[1, 2, 3]]), [[2, 4, 6]])
    np.testing.assert_array_equal(module.invert([True, False, True]), [False, True, False])
    assert module.negate(2.5) == -2.5
    assert module.negate(np.float32(1)) == -1
    results = module.scalars(np.int64(-7), 3, True, np.uint8(9))
    assert results == (-7, 3.0, True, 9)
    assert [type(result) for result in results] == [int, float, bool, int]
    assert module.scalars(2**32 - 1, 0, 0, 2**64 - 1) == (-1, 0.0, False, -1)


class Arrayish:
    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
        return F4 * 2


def test_objects_that_give_an_array_are_taken(module: iwh.Module) -> None:
    np.testing.assert_array_equal(module.add(Arrayish(), F4), F4 * 3)


def test_results_keep_their_memory(module: iwh.Module) -> None:
    first = module.add(F4, F4)
    part = first[1:3]
    del first
    others = [module.add(F4 * i, F4) for i in range(50)]
    np.testing.assert_array_equal(part, [2, 2])
    module.close()
    np.testing.assert_array_equal(part, [2, 2])
    np.testing.assert_array_equal(others[7], F4 * 8)
    with pytest.raises(iwh.ClosedError, match="call of add after its module was closed"):
        module.add(F4, F4)
    module.close()


def test_copied_results_own_their_memory(module: iwh.Module) -> None:
    assert module.add(F4, F4, copy=True).base is None
    assert module.add(F4, F4).base is not None


COUNT = np.arange(4, dtype=np.float32)
INSERT = """
func.func @insert(%a: tensor<4xf32>, %i: index) -> tensor<4xf32> {
  %c = arith.constant 99.0 : f32
  %0 = tensor.insert %c into %a[%i] : tensor<4xf32>
  return %0 : tensor<4xf32>
}
"""


def test_results_that_come_back_are_not_written_to(module: iwh.Module, load_wasm: LoadWasm) -> None:
    x = module.add(F4, F4)
    for _ in range(10):
        x = module.add(x, x)
    np.testing.assert_array_equal(x, F4 * 2**11)
    np.testing.assert_array_equal(module.add(x[::-1], x), F4 * 2**12)
    # The compiler lets this program write to its argument's buffer.
    inserter = load_wasm(INSERT)
    y = inserter.insert(COUNT, 0)
    np.testing.assert_array_equal(inserter.insert(y, 1), [99, 99, 2, 3])
    np.testing.assert_array_equal(y, [99, 1, 2, 3])


def test_results_that_come_back_in_another_byte_order(module: iwh.Module) -> None:
    x = module.add(COUNT, COUNT)
    swapped = x.byteswap().view(">f4")
    np.testing.assert_array_equal(module.add(swapped, swapped), COUNT * 4)
    x.byteswap(inplace=True)
    np.testing.assert_array_equal(module.add(x.view(">f4"), COUNT), COUNT * 3)


def test_a_slice_of_a_results_base_keeps_its_memory(module: iwh.Module) -> None:
    x = module.add(COUNT, COUNT)
    base = x.base
    assert isinstance(base, np.ndarray)
    part = base[4:12]
    del x, base
    for _ in range(20):
        module.add(F4 + 7, F4)
    np.testing.assert_array_equal(part.view(np.float32), [2, 4])


def test_results_of_another_device_are_copied(module: iwh.Module, load_wasm: LoadWasm) -> None:
    other = load_wasm(SOURCE)
    x = other.add(F4, F4)
    np.testing.assert_array_equal(module.add(x, x), F4 * 4)


def test_changes_to_a_result_are_seen_by_the_next_call(module: iwh.Module) -> None:
    x = module.add(F4, F4)
    x[0] = 10
    np.testing.assert_array_equal(module.add(x, F4), [11, 3, 3, 3])
