"""ONNX backend that runs a model natively, as IREE's own documentation does it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import onnx
from loaded_model import LoadedModel
from onnx.backend.base import Backend

__all__ = ["NativeBackend"]


class NativeBackend(Backend):
    """Compiles for this machine and runs on IREE's runtime, as IREE's documentation does it."""

    needs = ("iree.compiler.tools.import_onnx.__main__", "iree.runtime")
    """What every test imports."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> LoadedModel:
        import iree.runtime

        config = iree.runtime.Config("local-sync")
        archive = compile_natively(model)
        vm_module = iree.runtime.VmModule.copy_buffer(config.vm_instance, archive)
        module = iree.runtime.load_vm_module(vm_module, config)
        return LoadedModel(module[model.graph.name], model)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device == "CPU"


def compile_natively(model: onnx.ModelProto) -> bytes:
    """An archive for this machine's CPU, from the unchanged importer and compiler.

    Raises:
        RuntimeError: The importer or the compiler refused the model.
    """
    import iree.compiler.tools.import_onnx.__main__ as importer

    with tempfile.TemporaryDirectory() as folder:
        source, imported = Path(folder, "model.onnx"), Path(folder, "model.mlir")
        archive = Path(folder, "model.vmfb")
        onnx.save(model, source)
        importer.main(importer.parse_arguments([os.fspath(source), "-o", os.fspath(imported)]))
        command = [
            _find_compiler(),
            os.fspath(imported),
            *("-o", os.fspath(archive)),
            "--iree-hal-target-device=local",
            "--iree-hal-local-target-device-backends=llvm-cpu",
            "--iree-llvmcpu-target-cpu=host",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"iree-compile ended with {done.returncode}: {done.stderr[:2000]}")
        return archive.read_bytes()


def _find_compiler() -> str:
    import iree.compiler

    return os.fspath(Path(iree.compiler.__file__).parent / "_mlir_libs" / "iree-compile")
