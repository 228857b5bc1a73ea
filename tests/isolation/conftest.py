from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import iree_wasm_hal as iwh

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

SOURCE = """
  util.global private mutable @count = 0 : i32
  func.func @count_up() -> i32 {
    %one = arith.constant 1 : i32
    %0 = util.global.load @count : i32
    %1 = arith.addi %0, %one : i32
    util.global.store %1, @count : i32
    return %1 : i32
  }
  func.func @divide(%a: tensor<4xi32>, %b: tensor<4xi32>) -> tensor<4xi32> {
    %0 = arith.divsi %a, %b : tensor<4xi32>
    return %0 : tensor<4xi32>
  }
  func.func @negate(%a: tensor<?xf32>) -> tensor<?xf32> {
    %0 = arith.negf %a : tensor<?xf32>
    return %0 : tensor<?xf32>
  }
  func.func @swap(%a: tensor<2x3xi64>, %b: i1, %c: f32) -> (f32, i1, tensor<2x3xi64>) {
    return %c, %b, %a : f32, i1, tensor<2x3xi64>
  }
  func.func @positive(%a: i32) -> i32 {
    %zero = arith.constant 0 : i32
    %ok = arith.cmpi sgt, %a, %zero : i32
    cf.assert %ok, "a must be positive"
    return %a : i32
  }
  func.func @nothing() {
    return
  }
  func.func @spin(%a: tensor<4xi32>) -> tensor<4xi32> {
    %empty = tensor.empty() : tensor<4xi32>
    %0 = linalg.generic {
        indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>],
        iterator_types = ["parallel"]} ins(%a : tensor<4xi32>) outs(%empty : tensor<4xi32>) {
    ^bb0(%in: i32, %out: i32):
      %end = arith.constant -1 : i32
      %three = arith.constant 3 : i32
      %1 = scf.while (%x = %in) : (i32) -> i32 {
        %more = arith.cmpi ne, %x, %end : i32
        scf.condition(%more) %x : i32
      } do {
      ^bb1(%x: i32):
        %2 = arith.muli %x, %three : i32
        %3 = arith.xori %2, %three : i32
        %4 = arith.andi %3, %three : i32
        scf.yield %4 : i32
      }
      linalg.yield %1 : i32
    } -> tensor<4xi32>
    return %0 : tensor<4xi32>
  }
"""
"""``spin`` never ends, but of -1."""


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SOURCE, with scalar kernels, so that every engine takes part."""
    output = tmp_path_factory.mktemp("isolation") / "isolation.vmfb"
    return iwh.compile(SOURCE.encode(), output=output, target="wasm32")


@pytest.fixture(scope="module")
def isolated(archive: Path) -> Iterator[iwh.IsolatedModule]:
    """For tests that leave its process alive; a fresh one costs a third of a second."""
    with iwh.load(archive, isolation="process") as module:
        yield module


@pytest.fixture
def load_isolated(archive: Path) -> Iterator[Callable[..., iwh.IsolatedModule]]:
    """``load_isolated(**options)``: SOURCE in a process, closed after the test."""
    modules: list[iwh.IsolatedModule] = []

    def load(**options: Any) -> iwh.IsolatedModule:
        modules.append(iwh.load(archive, isolation="process", **options))
        return modules[-1]

    yield load
    for module in modules:
        module.close()
