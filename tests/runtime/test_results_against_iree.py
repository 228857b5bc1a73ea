"""Every function here runs natively on IREE's own runtime and on wasm; the results must agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest

import iree_wasm_hal as iwh

if TYPE_CHECKING:
    from iree_wasm_hal.engine import Engine

LoadWasm = Callable[..., iwh.Module]
LoadNative = Callable[..., Callable[..., Any]]


def elementwise(name: str, operation: str, element: str) -> str:
    tensor = f"tensor<7x33x{element}>"
    return f"""
      func.func @{name}(%a: {tensor}, %b: {tensor}) -> {tensor} {{
        %0 = {operation} %a, %b : {tensor}
        return %0 : {tensor}
      }}
    """


INTEGER_OPERATIONS = ["addi", "subi", "muli", "andi", "xori", "maxsi", "minui", "divui", "remsi"]
INTEGER_TYPES: dict[str, Any] = {"i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64}
INTEGERS = "".join(
    elementwise(f"{operation}_{element}", f"arith.{operation}", element)
    for operation in INTEGER_OPERATIONS
    for element in INTEGER_TYPES
)


def test_integer_operations_are_bit_equal(
    load_wasm: LoadWasm, load_native: LoadNative, random_source: np.random.Generator
) -> None:
    ours, native = load_wasm(INTEGERS), load_native(INTEGERS)
    for element, dtype in INTEGER_TYPES.items():
        limits = np.iinfo(dtype)
        a = random_source.integers(limits.min, limits.max, (7, 33), dtype, endpoint=True)
        b = random_source.integers(1, limits.max, (7, 33), dtype, endpoint=True)
        for operation in INTEGER_OPERATIONS:
            name = f"{operation}_{element}"
            result = ours[name](a, b)
            assert result.dtype == dtype
            np.testing.assert_array_equal(result, native(name, a, b), err_msg=name)


FLOATS = (
    elementwise("add", "arith.addf", "f32")
    + elementwise("mul", "arith.mulf", "f32")
    + elementwise("div", "arith.divf", "f32")
    + elementwise("max", "arith.maximumf", "f32")
    + elementwise("add_f64", "arith.addf", "f64")
    + elementwise("add_bf16", "arith.addf", "bf16")
    + """
      func.func @exp(%a: tensor<7x33xf32>) -> tensor<7x33xf32> {
        %0 = math.exp %a : tensor<7x33xf32>
        return %0 : tensor<7x33xf32>
      }
      func.func @less(%a: tensor<7x33xf32>, %b: tensor<7x33xf32>) -> tensor<7x33xi1> {
        %0 = arith.cmpf olt, %a, %b : tensor<7x33xf32>
        return %0 : tensor<7x33xi1>
      }
      func.func @choose(%c: tensor<7x33xi1>, %a: tensor<7x33xf32>, %b: tensor<7x33xf32>)
          -> tensor<7x33xf32> {
        %0 = arith.select %c, %a, %b : tensor<7x33xi1>, tensor<7x33xf32>
        return %0 : tensor<7x33xf32>
      }
      func.func @to_integer(%a: tensor<7x33xf32>) -> tensor<7x33xi32> {
        %0 = arith.fptosi %a : tensor<7x33xf32> to tensor<7x33xi32>
        return %0 : tensor<7x33xi32>
      }
    """
)


@pytest.mark.parametrize(
    ("name", "dtypes", "relative"),
    [
        ("add", ["f4", "f4"], 1e-5),
        ("mul", ["f4", "f4"], 1e-5),
        ("div", ["f4", "f4"], 1e-5),
        ("max", ["f4", "f4"], 0),
        ("add_f64", ["f8", "f8"], 1e-12),
        ("add_bf16", [ml_dtypes.bfloat16, ml_dtypes.bfloat16], 1e-2),
        ("exp", ["f4"], 1e-5),
        ("less", ["f4", "f4"], 0),
        ("choose", ["?", "f4", "f4"], 0),
        ("to_integer", ["f4"], 0),
    ],
)
def test_float_operations(
    load_wasm: LoadWasm,
    load_native: LoadNative,
    random_source: np.random.Generator,
    name: str,
    dtypes: list[Any],
    relative: float,
) -> None:
    arguments = [(random_source.standard_normal((7, 33)) * 4).astype(dtype) for dtype in dtypes]
    result = load_wasm(FLOATS)[name](*arguments)
    # IREE's own binding gives bf16 as raw words.
    expected = load_native(FLOATS)(name, *arguments)
    if name == "add_bf16":
        expected = np.asarray(expected).view(ml_dtypes.bfloat16)
    assert result.dtype == expected.dtype
    np.testing.assert_allclose(
        result.astype(np.float64), expected.astype(np.float64), rtol=relative, atol=1e-30
    )


HALF = elementwise("mul_f16", "arith.mulf", "f16")


def test_half_precision_arithmetic(
    load_native: LoadNative, engine: Engine, random_source: np.random.Generator
) -> None:
    # What iree-compile 3.13 emits by itself for f16 arithmetic is no valid wasm (the conversion
    # functions are linked with another signature); ours links others.
    a, b = (random_source.standard_normal((2, 7, 33)) * 4).astype(np.float16)
    with iwh.load(iwh.compile(HALF.encode()), engine=engine) as module:
        np.testing.assert_array_equal(module.mul_f16(a, b), load_native(HALF)("mul_f16", a, b))


CONTRACTIONS = """
  func.func @matmul(%a: tensor<37x65xf32>, %b: tensor<65x20xf32>) -> tensor<37x20xf32> {
    %zero = arith.constant 0.0 : f32
    %empty = tensor.empty() : tensor<37x20xf32>
    %init = linalg.fill ins(%zero : f32) outs(%empty : tensor<37x20xf32>) -> tensor<37x20xf32>
    %0 = linalg.matmul ins(%a, %b : tensor<37x65xf32>, tensor<65x20xf32>)
         outs(%init : tensor<37x20xf32>) -> tensor<37x20xf32>
    return %0 : tensor<37x20xf32>
  }
  func.func @dynamic_matmul(%a: tensor<?x?xf32>, %b: tensor<?x?xf32>) -> tensor<?x?xf32> {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %m = tensor.dim %a, %c0 : tensor<?x?xf32>
    %n = tensor.dim %b, %c1 : tensor<?x?xf32>
    %zero = arith.constant 0.0 : f32
    %empty = tensor.empty(%m, %n) : tensor<?x?xf32>
    %init = linalg.fill ins(%zero : f32) outs(%empty : tensor<?x?xf32>) -> tensor<?x?xf32>
    %0 = linalg.matmul ins(%a, %b : tensor<?x?xf32>, tensor<?x?xf32>)
         outs(%init : tensor<?x?xf32>) -> tensor<?x?xf32>
    return %0 : tensor<?x?xf32>
  }
  func.func @integer_matmul(%a: tensor<37x65xi8>, %b: tensor<65x20xi8>) -> tensor<37x20xi32> {
    %zero = arith.constant 0 : i32
    %empty = tensor.empty() : tensor<37x20xi32>
    %init = linalg.fill ins(%zero : i32) outs(%empty : tensor<37x20xi32>) -> tensor<37x20xi32>
    %0 = linalg.matmul ins(%a, %b : tensor<37x65xi8>, tensor<65x20xi8>)
         outs(%init : tensor<37x20xi32>) -> tensor<37x20xi32>
    return %0 : tensor<37x20xi32>
  }
"""


def test_contractions(
    load_wasm: LoadWasm, load_native: LoadNative, random_source: np.random.Generator
) -> None:
    ours, native = load_wasm(CONTRACTIONS), load_native(CONTRACTIONS)
    a = random_source.standard_normal((37, 65)).astype(np.float32)
    b = random_source.standard_normal((65, 20)).astype(np.float32)
    for name in ("matmul", "dynamic_matmul"):
        expected = native(name, a, b)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(ours[name](a, b), expected, rtol=1e-4, atol=1e-4 * scale)
    small = random_source.integers(-128, 127, (2, 37 * 65), np.int8)
    x, y = small[0].reshape(37, 65), small[1][: 65 * 20].reshape(65, 20)
    np.testing.assert_array_equal(ours.integer_matmul(x, y), native("integer_matmul", x, y))


def test_dynamic_shapes_of_every_size(
    load_wasm: LoadWasm, load_native: LoadNative, random_source: np.random.Generator
) -> None:
    ours, native = load_wasm(CONTRACTIONS), load_native(CONTRACTIONS)
    for m, k, n in [(1, 1, 1), (3, 5, 7), (64, 8, 16), (2, 100, 2), (0, 4, 3)]:
        a = random_source.standard_normal((m, k)).astype(np.float32)
        b = random_source.standard_normal((k, n)).astype(np.float32)
        result = ours.dynamic_matmul(a, b)
        assert result.shape == (m, n)
        np.testing.assert_allclose(result, native("dynamic_matmul", a, b), rtol=1e-4, atol=1e-5)


SIGNATURES = """
  func.func @none() { return }
  func.func @constants() -> (i32, i64, f32, f64, tensor<3xi16>) {
    %a = arith.constant -5 : i32
    %b = arith.constant 9007199254740993 : i64
    %c = arith.constant 0.1 : f32
    %d = arith.constant 0.1 : f64
    %e = arith.constant dense<[1, -2, 3]> : tensor<3xi16>
    return %a, %b, %c, %d, %e : i32, i64, f32, f64, tensor<3xi16>
  }
  func.func @scalars(%a: i32, %b: i64, %c: f32, %d: f64) -> (f64, f32, i64, i32) {
    %0 = arith.addi %a, %a : i32
    %1 = arith.addi %b, %b : i64
    %2 = arith.addf %c, %c : f32
    %3 = arith.addf %d, %d : f64
    return %3, %2, %1, %0 : f64, f32, i64, i32
  }
  func.func @mixed(%a: tensor<2xf32>, %n: i32) -> (tensor<2xf32>, i32, tensor<f32>) {
    %c0 = arith.constant 0 : index
    %0 = arith.addf %a, %a : tensor<2xf32>
    %1 = tensor.extract %a[%c0] : tensor<2xf32>
    %2 = tensor.from_elements %1 : tensor<f32>
    %3 = arith.muli %n, %n : i32
    return %0, %3, %2 : tensor<2xf32>, i32, tensor<f32>
  }
"""


def test_numbers_of_results_and_primitive_values(
    load_wasm: LoadWasm, load_native: LoadNative
) -> None:
    ours, native = load_wasm(SIGNATURES), load_native(SIGNATURES)
    assert ours.none() is None
    constants = ours.constants()
    assert constants[:4] == (-5, 9007199254740993, np.float32(0.1), 0.1)
    np.testing.assert_array_equal(constants[4], np.array([1, -2, 3], np.int16))
    for arguments in [(1, 2, 0.5, 0.25), (-(2**30), 2**62 - 1, -3.5, 1e300)]:
        assert ours.scalars(*arguments) == tuple(native("scalars", *arguments))
    a = np.array([1.5, -2], np.float32)
    doubled, squared, first = ours.mixed(a, -7)
    np.testing.assert_array_equal(doubled, a * 2)
    assert squared == 49
    assert first.shape == ()
    assert first == 1.5


STATE = """
  util.global private mutable @sum = dense<0> : tensor<4xi32>
  util.global private mutable @calls = 0 : i32
  func.func @add(%a: tensor<4xi32>) -> tensor<4xi32> {
    %s = util.global.load @sum : tensor<4xi32>
    %0 = arith.addi %a, %s : tensor<4xi32>
    util.global.store %0, @sum : tensor<4xi32>
    %c = util.global.load @calls : i32
    %one = arith.constant 1 : i32
    %1 = arith.addi %c, %one : i32
    util.global.store %1, @calls : i32
    return %0 : tensor<4xi32>
  }
  func.func @count() -> i32 {
    %c = util.global.load @calls : i32
    return %c : i32
  }
"""


def test_state_is_kept_per_module_and_results_do_not_change_later(load_wasm: LoadWasm) -> None:
    one, other = load_wasm(STATE), load_wasm(STATE)
    step = np.arange(4, dtype=np.int32)
    results = [one.add(step) for _ in range(5)]
    for number, result in enumerate(results, 1):
        np.testing.assert_array_equal(result, step * number)
    assert (one.count(), other.count()) == (5, 0)


EXPORTED_STATE = """
  util.global private mutable @s = dense<1> : tensor<4xi32>
  func.func @get() -> tensor<4xi32> {
    %s = util.global.load @s : tensor<4xi32>
    return %s : tensor<4xi32>
  }
  func.func @set(%a: tensor<4xi32>) {
    util.global.store %a, @s : tensor<4xi32>
    return
  }
  func.func @double() {
    %s = util.global.load @s : tensor<4xi32>
    %0 = arith.addi %s, %s : tensor<4xi32>
    util.global.store %0, @s : tensor<4xi32>
    return
  }
"""


def test_arrays_and_state_do_not_share_memory(load_wasm: LoadWasm) -> None:
    module = load_wasm(EXPORTED_STATE)
    first = module.get()
    module.double()
    np.testing.assert_array_equal(first, [1, 1, 1, 1])
    argument = np.array([5, 6, 7, 8], np.int32)
    module.set(argument)
    argument[:] = 0
    second = module.get()
    module.set(second)
    second[:] = 0
    np.testing.assert_array_equal(module.get(), [5, 6, 7, 8])


ELEMENTS = {
    "i1": np.dtype(bool),
    "i8": np.dtype(np.int8),
    "i16": np.dtype(np.int16),
    "i32": np.dtype(np.int32),
    "i64": np.dtype(np.int64),
    "f16": np.dtype(np.float16),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "f32": np.dtype(np.float32),
    "f64": np.dtype(np.float64),
    "f8E4M3FN": np.dtype(ml_dtypes.float8_e4m3fn),
    "f8E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "f8E4M3FNUZ": np.dtype(ml_dtypes.float8_e4m3fnuz),
    "f8E5M2FNUZ": np.dtype(ml_dtypes.float8_e5m2fnuz),
}
TRANSPOSES = "".join(
    f"""
      func.func @transpose_{element}(%a: tensor<5x9x{element}>) -> tensor<9x5x{element}> {{
        %empty = tensor.empty() : tensor<9x5x{element}>
        %0 = linalg.transpose ins(%a : tensor<5x9x{element}>)
             outs(%empty : tensor<9x5x{element}>) permutation = [1, 0]
        return %0 : tensor<9x5x{element}>
      }}
    """
    for element in ELEMENTS
)


def test_every_element_type_in_and_out(
    load_wasm: LoadWasm, random_source: np.random.Generator
) -> None:
    module = load_wasm(TRANSPOSES)
    for element, dtype in ELEMENTS.items():
        a = (random_source.standard_normal((5, 9)) * 20).astype(dtype)
        result = module[f"transpose_{element}"](a)
        assert result.dtype == dtype
        assert result.tobytes() == np.ascontiguousarray(a.T).tobytes(), element


def test_unsigned_arrays_go_where_signless_integers_are_declared(load_wasm: LoadWasm) -> None:
    module = load_wasm(TRANSPOSES)
    for dtype in (np.uint8, np.uint16, np.uint32, np.uint64):
        a = np.arange(45, dtype=dtype).reshape(5, 9) + np.iinfo(dtype).max // 2
        result = module[f"transpose_i{8 * a.itemsize}"](a)
        assert result.view(dtype).tobytes() == a.T.tobytes()
