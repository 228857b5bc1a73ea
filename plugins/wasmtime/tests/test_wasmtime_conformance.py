from importlib import metadata

from iree_wasm_hal.engine.conformance import ConformanceSuite


class TestWasmtime(ConformanceSuite):
    engine_name = "wasmtime"
    engine_version = metadata.version("wasmtime")
