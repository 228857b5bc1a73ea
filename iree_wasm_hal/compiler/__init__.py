"""Models to ``.vmfb`` files with WebAssembly kernels, by the installed iree-base-compiler.

Public here: ``compile``, ``compile_to_file`` and ``TARGET_NAMES``; the modules are internal.
Importing this package loads neither the compiler nor onnx.
"""

from __future__ import annotations

from iree_wasm_hal.compiler.onnx_model import OnnxOptions
from iree_wasm_hal.compiler.pipeline import (
    CompileOptions,
    CompileResult,
    compile,  # noqa: A004 # the public name
    compile_to_file,
)
from iree_wasm_hal.compiler.source import INPUT_TYPES
from iree_wasm_hal.compiler.targets import DEFAULT_TARGET, TARGET_NAMES

__all__ = [
    "DEFAULT_TARGET",
    "INPUT_TYPES",
    "TARGET_NAMES",
    "CompileOptions",
    "CompileResult",
    "OnnxOptions",
    "compile",
    "compile_to_file",
]
