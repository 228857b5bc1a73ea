"""ONNX backend of this package: compiles to WebAssembly and runs on wasmtime."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from loaded_model import LoadedModel
from onnx.backend.base import Backend

import iree_wasm_hal as iwh
from iree_wasm_hal.compiler import onnx_model

if TYPE_CHECKING:
    import onnx

__all__ = ["WasmBackend"]


class WasmBackend(Backend):
    """``onnx.backend.base.Backend`` on this package.

    The importer runs in the process that calls it, as the native backend's does: in one of its own,
    which users have, it would import the compiler anew for every test, a third of the time.
    ``tests/compiler/test_compile_onnx.py`` compiles as users do.
    """

    needs = (
        "iree.compiler.tools.import_onnx.__main__",
        "iree_wasm_hal.compiler",
        "iree_wasm_hal.runtime.loader",
        "iree_wasm_hal_wasmtime.engine",
        "wasmtime",
    )
    """What every test imports."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> LoadedModel:
        with (
            tempfile.TemporaryDirectory() as folder,  # the log of a failure goes with it
            mock.patch.object(onnx_model, "run", _import_here),
        ):
            archive = iwh.compile(model, output=Path(folder, "model.vmfb"))
            module = iwh.load(archive, engine="wasmtime")
        return LoadedModel(module["main"], model)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device == "CPU"


def _import_here(command: list[str], log: Path, title: str) -> int:
    """Stands for ``toolchain.run`` where the command is the importer's."""
    import iree.compiler.tools.import_onnx.__main__ as importer

    assert command[1:3] == ["-m", "iree.compiler.tools.import_onnx"], title
    importer.main(importer.parse_arguments(command[3:]))
    return 0
