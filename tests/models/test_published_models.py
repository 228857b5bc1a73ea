"""Models that PyPI packages ship, against onnxruntime on the same inputs.

Tolerances: a network's f32 sums are added in another order than onnxruntime's, and each layer
hands its rounding on. Scores after a softmax or sigmoid lie in [0, 1]; they agree to 1e-4 in the
convolution networks and to 1e-3 where a recurrent state or a long softmax (6625 classes) amplifies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
from magika_features import MODEL_PATH, MagikaConfig
from model_files import ROOT, package_file
from ocr_picture import as_bgr, draw

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Model = Callable[..., Any]
    LoadModel = Callable[..., Model]


def session(model: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def picture(height: int, width: int) -> np.ndarray[Any, Any]:
    """A corner of the OCR demo's picture as the networks take it: NCHW, -1 to 1."""
    pixels = as_bgr(draw())[:height, :width].astype(np.float32)
    return np.ascontiguousarray((pixels / 127.5 - 1).transpose(2, 0, 1)[None])


def test_magika_labels_files_as_onnxruntime(load_model: LoadModel) -> None:
    config = MagikaConfig.load()
    path = package_file("magika", MODEL_PATH)
    function = load_model(path, {"bytes": (1, 2048)})
    reference = session(path)
    files = ["README.md", "pyproject.toml", "Makefile", "LICENSE", "demos/magika_demo.py"]
    for name in files:
        features = config.features(ROOT / name)
        (expected,) = reference.run(None, {"bytes": features})
        scores = np.asarray(function(features))
        np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-4, err_msg=name)
        assert config.verdict(scores).label == config.verdict(expected).label


@pytest.mark.parametrize(
    ("name", "height", "width", "atol"),
    [
        ("ch_PP-OCRv4_det_infer", 160, 320, 1e-4),
        ("ch_PP-OCRv4_rec_infer", 48, 320, 1e-3),
        ("ch_ppocr_mobile_v2.0_cls_infer", 48, 192, 1e-4),
    ],
)
def test_ocr_models(load_model: LoadModel, name: str, height: int, width: int, atol: float) -> None:
    path = package_file("rapidocr_onnxruntime", f"models/{name}.onnx")
    pixels = picture(height + 60, width + 40)[:, :, 60:, 40:]
    function = load_model(path, {"x": pixels.shape})
    expected = session(path).run(None, {"x": np.ascontiguousarray(pixels)})[0]
    np.testing.assert_allclose(np.asarray(function(pixels)), expected, rtol=0, atol=atol)


def test_voice_activity_carries_its_state(
    load_model: LoadModel, random_source: np.random.Generator
) -> None:
    path = package_file("silero_vad", "data/silero_vad_openvino_16k.onnx")
    function = load_model(path)
    reference = session(path)
    state = expected_state = np.zeros((2, 1, 128), np.float32)
    probabilities = []
    time_s = np.arange(576) / 16000
    for step in range(12):
        loudness = 0.5 if 3 <= step < 9 else 0.001
        tone = np.sin(2 * np.pi * (140 + 20 * step) * time_s) * np.sin(2 * np.pi * 900 * time_s)
        chunk = (loudness * (tone + 0.1 * random_source.standard_normal(576)))[None]
        chunk = chunk.astype(np.float32)
        probability, state = function(chunk, state)
        expected, expected_state = reference.run(None, {"input": chunk, "state": expected_state})
        np.testing.assert_allclose(np.asarray(probability), expected, rtol=0, atol=1e-3)
        np.testing.assert_allclose(np.asarray(state), expected_state, rtol=0, atol=1e-3)
        probabilities.append(float(np.asarray(probability)[0, 0]))
    assert np.ptp(probabilities) > 1e-3, "the state or the input had no effect"
