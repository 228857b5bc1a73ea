"""Expectations and their messages.

The messages are those that upstream's own tests of iree-check-module ask for, which no wheel
carries (runtime/src/iree/modules/check/test/failure.mlir).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from iree_wasm_hal.runtime.check import CheckResult, run_tests

if TYPE_CHECKING:
    from iree_wasm_hal.engine import Engine

Compile = Callable[..., Path]

SOURCE = """
  func.func @true_of_zero() {
    %0 = util.unfoldable_constant 0 : i32
    check.expect_true(%0) : i32
    return
  }
  func.func @false_of_seven() {
    %0 = util.unfoldable_constant 7 : i32
    check.expect_false(%0) : i32
    return
  }
  func.func @all_good() {
    %one = util.unfoldable_constant 1 : i32
    check.expect_true(%one) : i32
    %zero = util.unfoldable_constant 0 : i32
    check.expect_false(%zero) : i32
    %0 = util.unfoldable_constant dense<[1, 2, 3]> : tensor<3xi32>
    check.expect_all_true(%0) : tensor<3xi32>
    check.expect_eq_const(%0, dense<[1, 2, 3]> : tensor<3xi32>) : tensor<3xi32>
    %1 = util.unfoldable_constant dense<[1.0, 0x7FC00000]> : tensor<2xf32>
    check.expect_almost_eq_const(%1, dense<[1.00001, 0x7FC00000]> : tensor<2xf32>)
        : tensor<2xf32>
    return
  }
  func.func @all_true_of_a_zero() {
    %0 = util.unfoldable_constant dense<[1, 0, 3]> : tensor<3xi32>
    check.expect_all_true(%0) : tensor<3xi32>
    return
  }
  func.func @equal_contents() {
    %0 = util.unfoldable_constant dense<[[1, 2], [3, 4]]> : tensor<2x2xi32>
    check.expect_eq_const(%0, dense<[[1, 2], [3, 5]]> : tensor<2x2xi32>) : tensor<2x2xi32>
    return
  }
  func.func @almost_f32() {
    %0 = util.unfoldable_constant dense<[1.0, 2.0, 3.0]> : tensor<3xf32>
    check.expect_almost_eq_const(%0, dense<[1.0, 2.0, 2.75]> : tensor<3xf32>) : tensor<3xf32>
    return
  }
  func.func @almost_f64() {
    %0 = util.unfoldable_constant dense<[1.0, 2.0]> : tensor<2xf64>
    check.expect_almost_eq_const(%0, dense<[0.98, 2.0]> : tensor<2xf64>, atol 1.0e-2, rtol 1.0e-3)
        : tensor<2xf64>
    return
  }
  func.func @almost_f16() {
    %0 = util.unfoldable_constant dense<[0.0, 100.0]> : tensor<2xf16>
    check.expect_almost_eq_const(%0, dense<[0.011, 99.0]> : tensor<2xf16>, atol 1.0e-2, rtol 1.0e-2)
        : tensor<2xf16>
    return
  }
  func.func @almost_bf16() {
    %0 = util.unfoldable_constant dense<[0.0, 100.0]> : tensor<2xbf16>
    check.expect_almost_eq_const(%0, dense<[0.009, 98.0]> : tensor<2xbf16>, atol 0.01, rtol 0.01)
        : tensor<2xbf16>
    return
  }
  func.func @almost_f8() {
    %0 = util.unfoldable_constant dense<[0.0, 100.0]> : tensor<2xf8E5M2>
    check.expect_almost_eq_const(%0, dense<[0.25, 75.0]> : tensor<2xf8E5M2>, atol 0.1, rtol 0.1)
        : tensor<2xf8E5M2>
    return
  }
  func.func @infinity_is_not_almost_a_number() {
    %0 = util.unfoldable_constant dense<[1.0e38]> : tensor<1xf32>
    check.expect_almost_eq_const(%0, dense<[0x7F800000]> : tensor<1xf32>, atol 1.0e38)
        : tensor<1xf32>
    return
  }
  func.func @two_failures() {
    %0 = util.unfoldable_constant 0 : i32
    check.expect_true(%0) : i32
    %1 = util.unfoldable_constant 1 : i32
    check.expect_false(%1) : i32
    return
  }
  func.func @no_test(%a: i32) -> i32 {
    return %a : i32
  }
"""
PASSING = ["all_good"]


@pytest.fixture(scope="session")
def results(compile_wasm: Compile, engine: Engine) -> dict[str, CheckResult]:
    found = run_tests(compile_wasm(SOURCE), engine=engine)
    return {result.name: result for result in found}


def test_every_test_function_runs_and_only_those(results: dict[str, CheckResult]) -> None:
    names = re.findall(r"func\.func @(\w+)\(\)", SOURCE)
    assert list(results) == names
    assert [name for name, result in results.items() if result.ok] == PASSING
    assert results["all_good"].messages == ()
    assert len(results["two_failures"].messages) == 2


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("true_of_zero", "Expected 0 to be nonzero."),
        ("false_of_seven", "Expected 7 to be zero."),
        ("equal_contents", "Expected equality of these values. Contents does not match."),
        (
            "almost_f32",
            "Expected near equality of these values. Contents does not match to tolerance "
            "parameters atol=0.0001, rtol=0. The first failure occurs at index 2 as the lhs value "
            "3 differs from the rhs value 2.75 by -2.500e-01.",
        ),
        (
            "almost_f64",
            "Expected near equality of these values. Contents does not match to tolerance "
            "parameters atol=0.01, rtol=0.001. The first failure occurs at index 0 as the lhs "
            "value 1 differs from the rhs value 0.98 by -2.000e-02.",
        ),
        (
            "almost_f16",
            "Expected near equality of these values. Contents does not match to tolerance "
            "parameters atol=0.01, rtol=0.01. The first failure occurs at index 0 as the lhs value "
            "0 differs from the rhs value 0.0110016 by 1.100e-02.",
        ),
        (
            "almost_bf16",
            "Expected near equality of these values. Contents does not match to tolerance "
            "parameters atol=0.01, rtol=0.01. The first failure occurs at index 1 as the lhs value "
            "100 differs from the rhs value 98 by -2.000e+00.",
        ),
        (
            "almost_f8",
            "Expected near equality of these values. Contents does not match to tolerance "
            "parameters atol=0.1, rtol=0.1. The first failure occurs at index 0 as the lhs value 0 "
            "differs from the rhs value 0.25 by 2.500e-01.",
        ),
    ],
)
def test_messages_are_irees(results: dict[str, CheckResult], name: str, head: str) -> None:
    (message,) = results[name].messages
    assert message.splitlines()[0] == head


def test_messages_show_both_values(results: dict[str, CheckResult]) -> None:
    assert results["equal_contents"].messages[0].splitlines()[1:] == [
        "  lhs:",
        "    2x2xi32=[1 2][3 4]",
        "  rhs:",
        "    2x2xi32=[1 2][3 5]",
    ]
    assert results["all_true_of_a_zero"].messages[0].splitlines() == [
        "Expected all elements to be nonzero; the first zero is at index 1.",
        "  value:",
        "    3xi32=1 0 3",
    ]


def test_results_are_reported_as_they_come(compile_wasm: Compile, engine: Engine) -> None:
    seen: list[str] = []
    found = run_tests(
        compile_wasm(SOURCE), engine=engine, on_result=lambda result: seen.append(result.name)
    )
    assert seen == [result.name for result in found]
