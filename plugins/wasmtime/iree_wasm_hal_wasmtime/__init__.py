"""The wasmtime engine for iree_wasm_hal: cffi on the C library of the ``wasmtime`` wheel.

Internal: use ``iree_wasm_hal.engine.open_engine("wasmtime")``.
"""
