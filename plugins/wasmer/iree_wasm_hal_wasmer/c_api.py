"""The library's C functions as cffi sees them (``declarations.h``), and its numbers."""

from __future__ import annotations

from typing import Any

from iree_wasm_hal_wasmer import _bindings

ffi: Any = _bindings.ffi
"""Types, allocation and casts; the functions are reached through ``library.load_library``."""

ABI_VERSION = 1
"""What ``iwh_wasmer_abi_version`` must return (engines/wasmer/src/abi.rs)."""

COMPILERS = {"cranelift": 0, "singlepass": 1}
"""Values of ``Compiler`` (engines/wasmer/src/engine.rs)."""

FAILURE_ENGINE = 0
FAILURE_COMPILE = 1
FAILURE_LIMIT = 2
FAILURE_TRAP = 3
FAILURE_INTERRUPTED = 4
FAILURE_PANIC = 5
"""Values of ``Kind`` (engines/wasmer/src/failure.rs)."""


def text(pointer: Any, byte_length: int) -> str:
    """A copy of a text that the library lends."""
    return bytes(ffi.buffer(pointer, byte_length)).decode("utf-8", "replace")
