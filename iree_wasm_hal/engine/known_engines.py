"""The engines of this project, for advice to users who lack one.

What an engine really has is probed when it opens. A test compares this table with that, for every
engine that opens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.engine.contract import Feature

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BUILD_NEEDS", "KNOWN_ENGINES"]

_ALL = frozenset(Feature)
_WIDE = {Feature.WIDE_VECTORS}
_RELAXED = {Feature.RELAXED_SIMD, Feature.RELAXED_MADD, Feature.RELAXED_DOT}

KNOWN_ENGINES: Mapping[str, frozenset[Feature]] = {
    "jsc": _ALL
    - _WIDE
    - {Feature.RELAXED_SIMD, Feature.RELAXED_DOT, Feature.MEMORY64, Feature.MULTI_MEMORY}
    - {Feature.THREADS, Feature.SERIALIZE, Feature.INTERRUPT},
    "v8": _ALL - _WIDE - {Feature.THREADS, Feature.SERIALIZE},
    "wamr": _ALL
    - _WIDE
    - _RELAXED
    - {Feature.MEMORY64, Feature.MULTI_MEMORY, Feature.EXCEPTIONS, Feature.SERIALIZE},
    "wamr-aot": _ALL - {Feature.MULTI_MEMORY, Feature.EXCEPTIONS},
    "wasm3": frozenset({Feature.BULK_MEMORY, Feature.SIGN_EXTENSION, Feature.NONTRAPPING_FPTOINT}),
    "wasmer": _ALL - _WIDE - {Feature.MEMORY64, Feature.TAIL_CALL},
    "wasmtime": _ALL - _WIDE,
}
"""Features of each engine's current release."""

BUILD_NEEDS: Mapping[str, str] = {
    "jsc": "it opens a system library: apt-get install libjavascriptcoregtk-4.1-0",
    "wamr": "its library is built while it is installed: that takes cargo, cmake, a C compiler and "
    "libsimde-dev",
    "wamr-aot": "its libraries are built while it is installed, on x86-64 Linux: that takes cargo, "
    "cmake, a C and a C++ compiler, and LLVM (Debian: llvm-22-dev zlib1g-dev libzstd-dev)",
    "wasm3": "its package is compiled while it is installed: that takes a C compiler and Python's "
    "headers",
    "wasmer": "its library is built while it is installed: that takes cargo (Rust 1.95 or newer) "
    "and a C compiler",
}
"""What an engine needs beside its Python packages."""
