"""wasmtime's C API as cffi sees it (``declarations.h``), and its numbers."""

from __future__ import annotations

from typing import Any

from iree_wasm_hal_wasmtime import _bindings

ffi: Any = _bindings.ffi
"""Types, allocation and casts; the functions are reached through ``library.load_library``."""

EXTERN_FUNC = 0
EXTERN_MEMORY = 3
EXTERN_SHAREDMEMORY = 4
"""Values of ``wasmtime_extern_kind_t`` (wasmtime/extern.h)."""

EXTERNTYPE_MEMORY = 3
"""Value of ``wasm_externkind_t`` for a memory (wasm.h)."""

VALKIND_I32 = 0
VALKIND_I64 = 1
"""Values of ``wasm_valkind_t`` (wasm.h)."""

STRATEGY_CRANELIFT = 1
OPT_LEVEL_SPEED = 1
DEADLINE_CONTINUE = 0
"""Values of wasmtime's strategy, optimization level and update deadline kind (wasmtime/*.h)."""

RAW_SLOT_WORDS = 2
"""64-bit words in one ``wasmtime_val_raw_t``, whose largest member is a v128."""

PAGE_SIZE_LOG2 = 16
"""How wasmtime's types give the size of a wasm page."""
