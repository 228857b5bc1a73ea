"""The wasm3 engine for iree_wasm_hal: cffi on the extension module of the ``pywasm3`` package.

Internal: use ``iree_wasm_hal.engine.open_engine("wasm3")``.
"""
