"""Every model of the test suite, with inputs that reach all of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from magika_features import MODEL_PATH, MagikaConfig
from model_files import ROOT, compiled, package_file
from ocr_picture import as_bgr, draw

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["MODELS", "SuiteModel"]

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class SuiteModel:
    """An archive for engines with vectors, and arguments of its ``main``."""

    archive: Path
    arguments: tuple[Array, ...]


def _magika() -> SuiteModel:
    features = MagikaConfig.load().features(ROOT / "LICENSE")
    if features is None:
        raise AssertionError("LICENSE is too short for Magika")
    path = package_file("magika", MODEL_PATH)
    return SuiteModel(compiled(path, {"bytes": features.shape}), (features,))


def _ocr(name: str, height: int, width: int) -> SuiteModel:
    path = package_file("rapidocr_onnxruntime", f"models/{name}.onnx")
    pixels = as_bgr(draw())[60 : 60 + height, 40 : 40 + width].astype(np.float32)
    image = np.ascontiguousarray((pixels / 127.5 - 1).transpose(2, 0, 1)[None])
    return SuiteModel(compiled(path, {"x": image.shape}), (image,))


def _light(name: str) -> SuiteModel:
    path = package_file("onnx", f"backend/test/data/light/light_{name}.onnx")
    graph = onnx.load(path).graph
    constants = {initializer.name for initializer in graph.initializer}
    (declared,) = [value for value in graph.input if value.name not in constants]
    shape = tuple(dimension.dim_value for dimension in declared.type.tensor_type.shape.dim)
    image = np.random.default_rng(5).standard_normal(shape).astype(np.float32)
    return SuiteModel(compiled(path, None), (image,))


def _voice() -> SuiteModel:
    random = np.random.default_rng(6)
    path = package_file("silero_vad", "data/silero_vad_openvino_16k.onnx")
    chunk = random.standard_normal((1, 576)).astype(np.float32)
    state = random.standard_normal((2, 1, 128)).astype(np.float32)
    return SuiteModel(compiled(path, None), (chunk, state))


MODELS: dict[str, Callable[[], SuiteModel]] = {
    "magika": _magika,
    "ocr-detector": lambda: _ocr("ch_PP-OCRv4_det_infer", 160, 320),
    "ocr-recogniser": lambda: _ocr("ch_PP-OCRv4_rec_infer", 48, 320),
    "ocr-direction": lambda: _ocr("ch_ppocr_mobile_v2.0_cls_infer", 48, 192),
    "voice": _voice,
    "resnet50": lambda: _light("resnet50"),
    "squeezenet": lambda: _light("squeezenet"),
    "densenet121": lambda: _light("densenet121"),
}
"""Makers by name: compiling takes seconds."""
