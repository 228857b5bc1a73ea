"""Kernels and host programs for the cache's tests, and engines that count."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from counting_engine import CountingEngine

from iree_wasm_hal.cache import CodeCache

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from iree_wasm_hal.engine import Engine

SOURCE = """
func.func @main(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32> {
  %0 = arith.addf %a, %b : tensor<4xf32>
  %1 = arith.mulf %0, %b : tensor<4xf32>
  return %1 : tensor<4xf32>
}
"""


@pytest.fixture(scope="session")
def archive(compile_wasm: Callable[..., Path]) -> Path:
    """``main(a, b) = (a + b) * b``."""
    return compile_wasm(SOURCE)


@pytest.fixture
def cache(tmp_path: Path) -> CodeCache:
    return CodeCache(tmp_path / "cache")


@pytest.fixture
def counting(engine: Engine) -> CountingEngine:
    return CountingEngine(engine)
