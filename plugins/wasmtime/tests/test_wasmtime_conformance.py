from importlib import metadata
from typing import ClassVar

from iree_wasm_hal.engine.conformance import ConformanceSuite


class TestWasmtime(ConformanceSuite):
    engine_name = "wasmtime"
    engine_version = metadata.version("wasmtime")
    unsupported: ClassVar = {"wide-vectors": "Cranelift compiles 128-bit operations one by one"}
