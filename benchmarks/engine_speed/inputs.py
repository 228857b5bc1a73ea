"""Models with an input each, and their archives for engines with and without vectors."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from magika_features import MODEL_PATH, MagikaConfig
from model_files import CACHE, ROOT, compiled, package_file
from onnx import numpy_helper

from engine_speed.factors import Factors
from engine_speed.stock_products import mlir
from engine_speed.transformer import (
    INPUT_NAME,
    LAYERS,
    PADDING,
    TOKENS,
    VOCABULARY,
    transformer_encoder,
)

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["TARGETS", "Inputs", "Model", "magika", "ocr_detector", "squeezenet", "transformer"]

TARGETS = ("wasm32", "wasm32-simd128")
_SQUEEZENET = "backend/test/data/light/light_squeezenet.onnx"
_OCR_DETECTOR = "models/ch_PP-OCRv4_det_infer.onnx"


@dataclass(frozen=True)
class Model:
    """An ONNX file and one input for it."""

    path: Path
    input_name: str
    argument: npt.NDArray[np.generic]
    fixed: bool = False
    """Whether the file itself says the input's shape."""

    def archive(self, target: str) -> Path:
        """Its archive; compiled once and kept."""
        shapes = None if self.fixed else {self.input_name: self.argument.shape}
        return compiled(self.path, shapes, target)


def magika() -> Model:
    """File types, about a text that hardly ever changes."""
    features = MagikaConfig.load().features(ROOT / "LICENSE")
    if features is None:
        raise AssertionError("LICENSE is too short for Magika")
    return Model(package_file("magika", MODEL_PATH), "bytes", features)


def squeezenet() -> Model:
    """The light network with random weights: its own are constants that give one score to all."""
    random = np.random.default_rng(7)
    model = onnx.load(package_file("onnx", _SQUEEZENET))
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in [node for node in model.graph.node if node.op_type == "ConstantOfShape"]:
        shape = shapes[node.input[0]]
        deviation = np.sqrt(2 / max(1, np.prod(shape[1:])))
        weights = (deviation * random.standard_normal(shape)).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(weights, node.output[0]))
        model.graph.node.remove(node)
    path = _written(model, "squeezenet-random-weights")
    constants = {initializer.name for initializer in model.graph.initializer}
    (name,) = [value.name for value in model.graph.input if value.name not in constants]
    image = random.standard_normal((1, 3, 224, 224), dtype=np.float32)
    return Model(path, name, image, fixed=True)


def ocr_detector() -> Model:
    """Finds text in a picture; here a picture of noise."""
    path = package_file("rapidocr_onnxruntime", _OCR_DETECTOR)
    noise = np.random.default_rng(7).standard_normal((1, 3, 640, 640), dtype=np.float32)
    return Model(path, "x", noise)


def transformer(layers: int = LAYERS) -> Model:
    """The encoder with random weights; about the last quarter of the tokens is padding."""
    path = _written(transformer_encoder(layers), f"transformer-{layers}-layers")
    ids = np.random.default_rng(7).integers(PADDING + 1, VOCABULARY, (1, TOKENS))
    ids[:, 100:] = PADDING
    return Model(path, INPUT_NAME, ids, fixed=True)


def _written(model: onnx.ModelProto, name: str) -> Path:
    path = CACHE / f"{name}.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")  # other processes read it
    unfinished.write_bytes(model.SerializeToString())
    unfinished.replace(path)
    return path


class Inputs:
    """Everything that is measured, with its archives by target."""

    def __init__(self) -> None:
        self.factors = Factors()
        self.magika, self.squeezenet, self.ocr_detector = magika(), squeezenet(), ocr_detector()
        source = CACHE / "products.mlir"
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(mlir())
        matmul = Path(__file__).parents[1] / "matmul.mlir"
        self.matmul = {target: compiled(matmul, target=target) for target in TARGETS}
        self.products = {target: compiled(source, target=target) for target in TARGETS}
