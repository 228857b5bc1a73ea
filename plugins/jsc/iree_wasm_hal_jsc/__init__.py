"""The JavaScriptCore engine for iree_wasm_hal: cffi on the system library's C API.

Internal: use ``iree_wasm_hal.engine.open_engine("jsc")``.
"""
