"""The library's C interface as cffi sees it.

Source: engines/wamr/interpreter/include/declarations.h.
"""

from __future__ import annotations

from typing import Any

from iree_wasm_hal_wamr import _bindings

ffi: Any = _bindings.ffi
"""Types, allocation and casts; the functions are reached through ``library.load_library``."""

INTERFACE_VERSION = 1
"""What ``iwh_wamr_interface_version`` gives (engines/wamr/src/runtime.c)."""

RETURNED = 0
TRAPPED = 1
"""Values of ``iwh_wamr_outcome``; the third one is an interruption."""

MESSAGE_CAPACITY = 256
"""Bytes for a message; WAMR's own buffers have 128."""


def message_text(buffer: Any) -> str:
    """The text that a function left in a message buffer."""
    return str(ffi.string(buffer).decode("utf-8", "replace"))
