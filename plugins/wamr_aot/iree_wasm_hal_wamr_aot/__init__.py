"""The wamr-aot engine for iree_wasm_hal: WAMR's ahead-of-time mode, by cffi on two libraries.

Internal: use ``iree_wasm_hal.engine.open_engine("wamr-aot")``.
"""
