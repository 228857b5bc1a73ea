"""JavaScriptCore's C API as cffi sees it (``declarations.h``)."""

from __future__ import annotations

from typing import Any

from iree_wasm_hal_jsc import _bindings

ffi: Any = _bindings.ffi
"""Types, allocation and casts; the functions are reached through ``library.load_library``."""
