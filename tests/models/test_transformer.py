"""The transformer encoder: right by onnxruntime, and the same bits from any number of threads.

Tolerance: its values are normalized to a deviation of about 1; in six layers of f32 sums, added in
another order than onnxruntime's, they drift by some 1e-6 each.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest
from engine_speed.inputs import transformer
from low_memory import low_memory_unused

import iree_wasm_hal as iwh
from iree_wasm_hal.engine import Feature

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import numpy.typing as npt

THREADS = (2, 4, 8)
CALLS = 3
LAYERS = 2
"""Enough for every kernel of the model to follow every other; more would only take longer."""


def test_encoder_computes_what_onnxruntime_does(
    load_model: Callable[..., Callable[..., Any]],
) -> None:
    model = transformer()
    session = onnxruntime.InferenceSession(model.path, providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {model.input_name: model.argument})
    got = np.asarray(load_model(model.path)(model.argument))
    assert np.std(expected) > 0.5
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4)


@functools.cache
def one_thread(target: str, engine_name: str) -> npt.NDArray[np.float32]:
    model = transformer(LAYERS)
    with iwh.load(model.archive(target), engine=engine_name) as module:
        return np.array(module["main"](model.argument))


@pytest.mark.parametrize("threads", THREADS)
def test_any_number_of_threads_gives_the_same_bits(engine_name: str, threads: int) -> None:
    with low_memory_unused(engine_name) as engine:
        if Feature.THREADS not in engine.info.features:
            pytest.skip(f"{engine_name} lacks {Feature.THREADS.value}")
        wide = "-wide" if Feature.WIDE_VECTORS in engine.info.features else ""
        target = f"wasm32-simd128{wide}"
        model, expected = transformer(LAYERS), one_thread(target, engine_name)
        with iwh.load(model.archive(target), engine=engine, threads=threads) as module:
            for _ in range(CALLS):
                got = np.asarray(module["main"](model.argument))
                np.testing.assert_array_equal(got.view(np.uint32), expected.view(np.uint32))
