"""Modules on every engine, and what keeps them busy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from busy_modules import BUSY, SCALAR, Bench

import iree_wasm_hal as iwh

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def _bench(engine_name: str, archive: Path) -> Iterator[Bench]:
    bench = Bench(iwh.open_engine(engine_name), archive)
    yield bench
    bench.close()


@pytest.fixture
def bench(compile_wasm: Callable[..., Path], engine_name: str) -> Iterator[Bench]:
    """On every engine."""
    yield from _bench(engine_name, compile_wasm(BUSY, SCALAR))


@pytest.fixture
def interrupting(
    compile_wasm: Callable[..., Path], interrupting_engine_name: str
) -> Iterator[Bench]:
    """On every engine that can end a running kernel."""
    yield from _bench(interrupting_engine_name, compile_wasm(BUSY, SCALAR))


@pytest.fixture
def stubborn(compile_wasm: Callable[..., Path], stubborn_engine_name: str) -> Iterator[Bench]:
    """On every engine that cannot."""
    yield from _bench(stubborn_engine_name, compile_wasm(BUSY, SCALAR))
