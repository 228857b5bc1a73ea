"""The WAMR engine for iree_wasm_hal: cffi on a library that is built with the plugin.

Internal: use ``iree_wasm_hal.engine.open_engine("wamr")``.
"""
