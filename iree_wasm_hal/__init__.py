"""Runs IREE archives whose kernels are WebAssembly, on the engine you name."""
