"""A model's memory is planned on its first call: the next ones find every size again."""

from __future__ import annotations

import numpy as np

import iree_wasm_hal as iwh
from iree_wasm_hal.engine import Feature
from iree_wasm_hal.engine.known_engines import KNOWN_ENGINES


def test_the_second_call_of_a_model_allocates_nothing(engine_name: str) -> None:
    from engine_speed.inputs import magika

    model = magika()
    has_vectors = Feature.SIMD128 in KNOWN_ENGINES[engine_name]
    archive = model.archive("wasm32-simd128" if has_vectors else "wasm32")
    with iwh.load(archive, engine=engine_name) as module:
        function = module["main"]
        first = np.array(function(model.argument))  # a copy: nothing holds the result
        before = module.device.memory
        for _ in range(3):
            np.testing.assert_array_equal(np.array(function(model.argument)), first)
        after = module.device.memory
        assert before.fresh_allocations > 0
        assert after == before
