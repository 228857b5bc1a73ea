"""The Wasmer engine for iree_wasm_hal: cffi on a small C library over the Wasmer crates.

Internal: use ``iree_wasm_hal.engine.open_engine("wasmer")``.
"""
