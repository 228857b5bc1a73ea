"""One archive gives the same bits on every engine; with relaxed SIMD, nearly the same.

Wasm's arithmetic is deterministic but for the bits of a NaN and for relaxed SIMD, whose
multiply-add may round once or twice. What is right is onnxruntime's to say, see
test_published_models.py; here engines are held to each other.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest
from engine_speed.inputs import Model, magika, squeezenet
from low_memory import low_memory_unused

import iree_wasm_hal as iwh
from iree_wasm_hal.engine import Feature

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Array = npt.NDArray[np.float32]

REFERENCE = "wasmtime"
# Measured on Magika: 0 between engines that fuse multiply and add, 503 between one that does and
# one that does not, in the last digits of a probability of 5e-10.
LARGEST_RELAXED_ULP = 2048


MODELS: dict[str, Callable[[], Model]] = {"magika": magika, "squeezenet": squeezenet}


@functools.cache
def run(model_name: str, target: str, engine_name: str) -> Array:
    """The model's output on an engine; the reference's is computed once per process."""
    model = MODELS[model_name]()
    archive = model.archive(target)
    with low_memory_unused(engine_name) as engine, iwh.load(archive, engine=engine) as module:
        return np.array(module["main"](model.argument))


def require(engine_name: str, *features: Feature) -> None:
    """Leaves out an engine that lacks what the target needs."""
    engine = iwh.open_engine(engine_name)
    lacking = set(features) - engine.info.features
    engine.close()
    if lacking:
        pytest.skip(f"{engine_name} lacks {', '.join(sorted(f.value for f in lacking))}")


def ulp_distance(a: Array, b: Array) -> int:
    """Largest number of f32 values between elements of two arrays of finite numbers."""

    def ordered(array: Array) -> npt.NDArray[np.int64]:
        bits = array.view(np.int32).astype(np.int64)
        return np.where(bits < 0, -(bits & 0x7FFF_FFFF), bits)

    return int(np.abs(ordered(a) - ordered(b)).max())


@pytest.mark.parametrize("model_name", MODELS)
def test_scalar_kernels_give_the_same_bits(model_name: str, engine_name: str) -> None:
    result = run(model_name, "wasm32", engine_name)
    np.testing.assert_array_equal(
        result.view(np.uint32), run(model_name, "wasm32", REFERENCE).view(np.uint32)
    )


@pytest.mark.parametrize("model_name", MODELS)
def test_vector_kernels_give_the_same_bits(model_name: str, engine_name: str) -> None:
    require(engine_name, Feature.SIMD128)
    result = run(model_name, "wasm32-simd128", engine_name)
    np.testing.assert_array_equal(
        result.view(np.uint32), run(model_name, "wasm32-simd128", REFERENCE).view(np.uint32)
    )


@pytest.mark.parametrize("model_name", MODELS)
def test_relaxed_kernels_differ_by_a_few_ulp(
    model_name: str, engine_name: str, record_property: Callable[[str, object], None]
) -> None:
    require(engine_name, Feature.RELAXED_SIMD, Feature.RELAXED_MADD)
    result = run(model_name, "wasm32-simd128-relaxed", engine_name)
    relaxed = ulp_distance(result, run(model_name, "wasm32-simd128-relaxed", REFERENCE))
    plain = ulp_distance(result, run(model_name, "wasm32-simd128", REFERENCE))
    record_property(f"largest difference from {REFERENCE}, ulp", relaxed)
    record_property("largest difference from plain simd128, ulp", plain)
    assert relaxed <= LARGEST_RELAXED_ULP


def test_reference_is_right() -> None:
    """What the others are compared with is itself what onnxruntime computes."""
    model = magika()
    session = onnxruntime.InferenceSession(model.path, providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {model.input_name: model.argument})
    np.testing.assert_allclose(run("magika", "wasm32", REFERENCE), expected, rtol=0, atol=1e-4)
