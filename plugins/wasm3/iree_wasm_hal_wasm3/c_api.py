"""wasm3's C API as cffi sees it (``declarations.h``), and its numbers."""

from __future__ import annotations

from typing import Any

from iree_wasm_hal_wasm3 import _bindings

ffi: Any = _bindings.ffi
"""Types, allocation and casts; the functions are reached through ``library.load_library``."""

WASM3_VERSION = "0.5.0"
"""The one version whose structs declarations.h knows."""

SLOT_BYTE_LENGTH = 4
"""Size of a slot of the value stack (``m3slot_t``, m3_core.h)."""

BACKTRACE_TRUNCATED = 2**64 - 1
"""``M3_BACKTRACE_TRUNCATED`` (wasm3.h): the last frame's address when one more was too much."""


def text(pointer: Any) -> str:
    """The text of a C string; empty for a null pointer."""
    return bytes(ffi.string(pointer)).decode("utf-8", "replace") if pointer else ""
