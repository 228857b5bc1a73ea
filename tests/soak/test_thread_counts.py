"""1, 2, 4 and 8 threads give the same bits, for every model of the test suite.

On the reference; on the engine that rewrites kernels most two models must do, since it compiles
for long. ``make soak`` runs all models on every engine, and Magika a thousand times.
"""

from __future__ import annotations

import contextlib

import pytest
from available_engines import engine_names
from suite_models import MODELS
from thread_counts import THREAD_COUNTS, compare

import iree_wasm_hal as iwh

CASES = [
    *(("wasmtime", name) for name in MODELS),
    *(("wamr-aot", name) for name in ("magika", "voice")),
]


@pytest.mark.parametrize(
    "engine_and_model", [case for case in CASES if case[0] in engine_names()], ids="-".join
)
def test_any_number_of_threads_gives_the_same_bits(engine_and_model: tuple[str, str]) -> None:
    engine_name, model_name = engine_and_model
    with contextlib.closing(iwh.open_engine(engine_name)) as engine:
        done = dict(compare(MODELS[model_name](), engine))
    assert set(done) == set(THREAD_COUNTS)
    assert len(set(done.values())) == 1, "the dispatches depend on the threads"
