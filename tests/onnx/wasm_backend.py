"""ONNX backend of this package: compiles to WebAssembly and runs on wasmtime."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import onnx
from loaded_model import LoadedModel
from onnx.backend.base import Backend

import iree_wasm_hal as iwh

__all__ = ["WasmBackend"]


class WasmBackend(Backend):
    """``onnx.backend.base.Backend`` on this package."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> LoadedModel:
        with tempfile.TemporaryDirectory() as folder:
            source, archive = Path(folder, "model.onnx"), Path(folder, "model.vmfb")
            onnx.save(model, source)
            iwh.compile(source, output=archive)
            module = iwh.load(archive.read_bytes(), engine="wasmtime")
        return LoadedModel(module[next(iter(module.functions))], model)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device == "CPU"
