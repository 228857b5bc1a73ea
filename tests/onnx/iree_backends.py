"""The two ONNX backends that are compared, by name."""

from __future__ import annotations

from native_backend import NativeBackend
from wasm_backend import WasmBackend

__all__ = ["BACKENDS"]

BACKENDS: dict[str, type[WasmBackend | NativeBackend]] = {
    "wasm": WasmBackend,
    "native": NativeBackend,
}
