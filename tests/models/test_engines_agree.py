"""One archive gives the same bits on every engine; with relaxed SIMD, nearly the same.

Wasm's arithmetic is deterministic but for the bits of a NaN and for relaxed SIMD, whose
multiply-add may round once or twice. What is right is onnxruntime's to say, see
test_published_models.py; here engines are held to each other.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import pytest
from low_memory import low_memory_unused
from magika_features import MODEL_PATH, MagikaConfig
from model_files import CACHE, ROOT, compiled, package_file
from onnx import numpy_helper

import iree_wasm_hal as iwh
from iree_wasm_hal.engine import Feature

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    Array = npt.NDArray[np.float32]

REFERENCE = "wasmtime"
SQUEEZENET = "backend/test/data/light/light_squeezenet.onnx"
# Measured on Magika: 0 between engines that fuse multiply and add, 503 between one that does and
# one that does not, in the last digits of a probability of 5e-10.
LARGEST_RELAXED_ULP = 2048


def magika() -> tuple[Path, dict[str, tuple[int, ...]], npt.NDArray[np.int32]]:
    features = MagikaConfig.load().features(ROOT / "README.md")
    assert features is not None  # the file is long enough for the model
    return package_file("magika", MODEL_PATH), {"bytes": (1, 2048)}, features


def squeezenet() -> tuple[Path, None, Array]:
    """The light network with random weights: its own are constants that give one score to all."""
    random = np.random.default_rng(7)
    model = onnx.load(package_file("onnx", SQUEEZENET))
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in [node for node in model.graph.node if node.op_type == "ConstantOfShape"]:
        shape = shapes[node.input[0]]
        deviation = np.sqrt(2 / max(1, np.prod(shape[1:])))
        weights = (deviation * random.standard_normal(shape)).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(weights, node.output[0]))
        model.graph.node.remove(node)
    path = CACHE / "squeezenet-random-weights.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")  # other test processes read it
    unfinished.write_bytes(model.SerializeToString())
    unfinished.replace(path)
    return path, None, random.standard_normal((1, 3, 224, 224), dtype=np.float32)


MODELS: dict[
    str, Callable[[], tuple[Path, dict[str, tuple[int, ...]] | None, npt.NDArray[np.generic]]]
]
MODELS = {"magika": magika, "squeezenet": squeezenet}


@functools.cache
def run(model_name: str, target: str, engine_name: str) -> Array:
    """The model's output on an engine; the reference's is computed once per process."""
    path, shapes, argument = MODELS[model_name]()
    archive = compiled(path, shapes, target)
    with low_memory_unused(engine_name) as engine, iwh.load(archive, engine=engine) as module:
        return np.array(module["main"](argument))


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
    path, _, argument = magika()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"bytes": argument})
    np.testing.assert_allclose(run("magika", "wasm32", REFERENCE), expected, rtol=0, atol=1e-4)
