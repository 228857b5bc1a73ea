"""1, 2, 4 and 8 threads give the same bits, for every model of the test suite.

On the reference and on the engine that rewrites kernels most; ``make soak`` does it on every
engine, and Magika a thousand times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from available_engines import engine_names
from suite_models import MODELS
from thread_counts import THREAD_COUNTS, compare

import iree_wasm_hal as iwh

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iree_wasm_hal.engine import Engine

ENGINES = [name for name in ("wasmtime", "wamr-aot") if name in engine_names()]


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    opened = iwh.open_engine(request.param)
    yield opened
    opened.close()


@pytest.mark.parametrize("name", MODELS)
def test_any_number_of_threads_gives_the_same_bits(engine: Engine, name: str) -> None:
    done = dict(compare(MODELS[name](), engine, repeat=2))
    assert set(done) == set(THREAD_COUNTS)
    assert len(set(done.values())) == 1, "the dispatches depend on the threads"
