"""ONNX backend of this package: compiles to WebAssembly and runs on wasmtime."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loaded_model import LoadedModel
from onnx.backend.base import Backend

import iree_wasm_hal as iwh

if TYPE_CHECKING:
    import onnx

__all__ = ["WasmBackend"]


class WasmBackend(Backend):
    """``onnx.backend.base.Backend`` on this package."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> LoadedModel:
        with tempfile.TemporaryDirectory() as folder:  # the log of a failure goes with it
            archive = iwh.compile(model, output=Path(folder, "model.vmfb"))
            module = iwh.load(archive, engine="wasmtime")
        return LoadedModel(module["main"], model)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device == "CPU"
