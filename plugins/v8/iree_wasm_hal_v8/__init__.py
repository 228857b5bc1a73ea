"""The V8 engine for ``iree_wasm_hal``; the core reaches it through its entry point.

Internal: everything here may change at any time.
"""
