"""Refuses to run wasm on a thread whose native stack is too small for it.

Some engines let wasm use a number of bytes below the point of entry without looking at the thread's
real stack. On a thread with less, runaway recursion meets the guard page outside of what the
engine's signal handler recognises, and the process dies.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import threading
from typing import Any

from iree_wasm_hal.errors import EngineError

__all__ = ["StackCheck", "thread_stack_byte_length"]

_ATTRIBUTES_BYTE_LENGTH = 256  # pthread_attr_t is 56 to 64 bytes on 64-bit Linux
_LEAST_ADVICE_BYTE_LENGTH = 2 * 1024**2  # what the contract asks of calling threads


class StackCheck(threading.local):
    """Remembers, per thread, that its stack was found large enough.

    Args:
        max_wasm_stack_byte_length: Native stack that wasm may use in one call.

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
        if self.passed:
            return
        byte_length = thread_stack_byte_length()
        if byte_length is not None and byte_length < self._required:
            msg = (
                f"thread {threading.current_thread().name!r} has a native stack of {byte_length} "
                f"bytes; running wasm needs {self._required} or more. Call "
                f"threading.stack_size({max(self._required, _LEAST_ADVICE_BYTE_LENGTH)}) before "
                f"starting it"
            )
            raise EngineError(msg)
        self.passed = True


def thread_stack_byte_length() -> int | None:
    """Size of the calling thread's native stack; None where the platform does not tell.

    Source: pthread.h of glibc, musl and macOS.
    """
    if sys.platform == "darwin":
        libc = _c_library()
        return int(libc.pthread_get_stacksize_np(libc.pthread_self()))
    if not sys.platform.startswith("linux"):
        return None
    libc = _c_library()
    attributes = ctypes.create_string_buffer(_ATTRIBUTES_BYTE_LENGTH)
    if libc.pthread_getattr_np(libc.pthread_self(), attributes):
        return None
    low, byte_length = ctypes.c_void_p(), ctypes.c_size_t()
    failed = libc.pthread_attr_getstack(attributes, ctypes.byref(low), ctypes.byref(byte_length))
    libc.pthread_attr_destroy(attributes)
    return None if failed else byte_length.value


@functools.lru_cache(maxsize=1)
def _c_library() -> Any:
    library = ctypes.CDLL(None)
    library.pthread_self.restype = ctypes.c_void_p
    if sys.platform == "darwin":
        library.pthread_get_stacksize_np.restype = ctypes.c_size_t
        library.pthread_get_stacksize_np.argtypes = [ctypes.c_void_p]
    else:
        library.pthread_getattr_np.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    return library
