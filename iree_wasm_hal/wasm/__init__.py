"""WebAssembly binaries as data: sections, dylink.0, relinking, the executor.

Internal: may change at any time.
"""
