from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from mlir_functions import COUNT_UP, DIVIDE, POSITIVE, SPIN

import iree_wasm_hal as iwh

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

_MORE = """
  func.func @negate(%a: tensor<?xf32>) -> tensor<?xf32> {
    %0 = arith.negf %a : tensor<?xf32>
    return %0 : tensor<?xf32>
  }
  func.func @swap(%a: tensor<2x3xi64>, %b: i1, %c: f32) -> (f32, i1, tensor<2x3xi64>) {
    return %c, %b, %a : f32, i1, tensor<2x3xi64>
  }
  func.func @nothing() {
    return
  }
"""
SOURCE = COUNT_UP + DIVIDE + POSITIVE + SPIN + _MORE


@pytest.fixture(scope="session")
def archive(made_once: Callable[..., Path]) -> Path:
    """SOURCE, with scalar kernels, so that every engine takes part."""
    source = SOURCE.encode()
    return made_once(
        "isolation.vmfb", lambda output: iwh.compile(source, output=output, target="wasm32")
    )


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
