"""The C interfaces of the two libraries as cffi sees them.

Source: engines/wamr/aot_runtime/include/declarations.h and engines/wamr/aot_compiler/include.
"""

from __future__ import annotations

from typing import Any

from iree_wasm_hal_wamr_aot import _bindings

ffi: Any = _bindings.ffi
"""Types, allocation and casts; the functions are reached through the loaded libraries."""

RUNTIME_INTERFACE_VERSION = 1
"""What ``iwh_wamr_aot_interface_version`` gives (engines/wamr/aot_runtime/src/runtime.c)."""
COMPILER_INTERFACE_VERSION = 2
"""What ``iwh_aotc_interface_version`` gives (engines/wamr/aot_compiler/src)."""

RETURNED = 0
TRAPPED = 1
"""Values of ``iwh_wamr_aot_outcome``; the third one is an interruption."""

MESSAGE_CAPACITY = 512
"""Bytes for a message; WAMR's own buffers have 128, and LLVM's are cut."""


def message_text(buffer: Any) -> str:
    """The text that a function left in a message buffer."""
    return str(ffi.string(buffer).decode("utf-8", "replace"))
