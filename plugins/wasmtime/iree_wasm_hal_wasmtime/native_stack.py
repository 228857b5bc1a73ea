"""Refuses to run wasm on a thread whose native stack is too small for it.

wasmtime lets wasm use ``max_wasm_stack`` bytes below the point of entry without looking at the
thread's real stack. On a thread with less, runaway recursion meets the guard page outside of what
wasmtime's signal handler recognises, and the process dies (measured with 512 KiB threads).
"""

from __future__ import annotations

import sys
import threading
from typing import Any

from iree_wasm_hal.errors import EngineError
from iree_wasm_hal_wasmtime.c_api import ffi

_libc: Any = ffi.dlopen(None) if sys.platform != "win32" else None
_ATTRIBUTES_BYTE_LENGTH = 256  # pthread_attr_t is 56 to 64 bytes on 64-bit Linux


class StackCheck(threading.local):
    """Remembers, per thread, that its stack was found large enough.

    Attributes:
        passed: Whether this thread may call into wasm.
    """

    passed: bool = False

    def __init__(self, max_wasm_stack_byte_length: int) -> None:
        self._required = 2 * max_wasm_stack_byte_length

    def check(self) -> None:
        """Checks the calling thread.

        Raises:
            EngineError: Its stack is smaller than twice the stack that wasm may use.
        """
        byte_length = thread_stack_byte_length()
        if byte_length is not None and byte_length < self._required:
            msg = (
                f"thread {threading.current_thread().name!r} has a native stack of {byte_length} "
                f"bytes; running wasm needs {self._required} or more. Call "
                f"threading.stack_size({max(self._required, 2 * 1024**2)}) before starting it"
            )
            raise EngineError(msg)
        self.passed = True


def thread_stack_byte_length() -> int | None:
    """Size of the calling thread's native stack; None where the platform does not tell."""
    if sys.platform == "darwin":
        return int(_libc.pthread_get_stacksize_np(_libc.pthread_self()))
    if not sys.platform.startswith("linux"):
        return None
    attributes = ffi.new("char[]", _ATTRIBUTES_BYTE_LENGTH)
    if _libc.pthread_getattr_np(_libc.pthread_self(), attributes):
        return None
    low, byte_length = ffi.new("void **"), ffi.new("size_t *")
    failed = _libc.pthread_attr_getstack(attributes, low, byte_length)
    _libc.pthread_attr_destroy(attributes)
    return None if failed else int(byte_length[0])
