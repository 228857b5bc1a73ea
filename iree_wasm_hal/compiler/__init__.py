"""Compiling models to archives whose kernels are WebAssembly. Internal: may change at any time."""
