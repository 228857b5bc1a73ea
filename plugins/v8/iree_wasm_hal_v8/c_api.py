"""mini-racer's C API as cffi sees it (``declarations.h``), and its numbers."""

from __future__ import annotations

from typing import Any

from iree_wasm_hal_v8 import _bindings

ffi: Any = _bindings.ffi
"""Types, allocation and casts; the functions are reached through ``library.load_library``."""

TYPE_STRING = 5
TYPE_ARRAY = 6
TYPE_OBJECT = 10
TYPE_FUNCTION = 100
TYPE_SHARED_ARRAY_BUFFER = 101
TYPE_ARRAY_BUFFER = 102
FIRST_EXCEPTION_TYPE = 200
"""Values of mini-racer's ``ValueTypes`` (src/v8_py_frontend/value.h)."""

NOT_INITIALIZED = 2**64 - 1
"""What ``mr_context_count`` returns before ``mr_init_v8``."""
