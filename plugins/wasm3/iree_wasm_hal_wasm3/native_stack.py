"""Keeps recursion in wasm from using up the native stack.

wasm3 compares its value stack with that stack's end when a function is entered, and never looks at
the native stack, of which a call takes up to twenty times as much. So the value stack of an
instance is made so small that it ends first: for each function, the native stack that a call in it
takes (``calibration.py``) over the value stack that it takes, the worst of them.
"""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from iree_wasm_hal.errors import EngineError
from iree_wasm_hal_wasm3.c_api import SLOT_BYTE_LENGTH, ffi

if TYPE_CHECKING:
    from collections.abc import Iterable

    from iree_wasm_hal_wasm3.calibration import CallCost
    from iree_wasm_hal_wasm3.config import EngineOptions
    from iree_wasm_hal_wasm3.validation.module import FunctionFacts

_libc: Any = ffi.dlopen(None) if sys.platform != "win32" else None
_ATTRIBUTES_BYTE_LENGTH = 256  # pthread_attr_t is 56 to 64 bytes on 64-bit Linux
_LEAST_FRAME_SLOT_COUNT = 2
"""wasm3 moves its stack by this much at every call (CompileCallArgsAndReturn, m3_compile.c)."""


class ThreadCheck(threading.local):
    """Remembers, per thread, that its stack was found large enough.

    Attributes:
        passed: Whether this thread may call into wasm.
    """

    passed: bool = False

    def __init__(self, max_native_stack_byte_length: int) -> None:
        self._required = 2 * max_native_stack_byte_length

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
                f"threading.stack_size({max(self._required, 2 * 1024**2)}) before starting it"
            )
            raise EngineError(msg)
        self.passed = True


@dataclass(frozen=True, slots=True)
class StackBudget:
    """What calls may use.

    Attributes:
        options: The engine's options.
        cost: Native stack that a call takes.
        thread_check: Refuses threads with small stacks.
    """

    options: EngineOptions
    cost: CallCost
    thread_check: ThreadCheck

    def value_stack_byte_length(self, functions: Iterable[FunctionFacts]) -> int:
        """Size of the value stack for a module of these functions."""
        byte_length = self.options.max_value_stack_byte_length
        for function in functions:
            if function.calls:
                native = self.cost.byte_length(function.loop_depth)
                slots = max(function.frame_slot_count, _LEAST_FRAME_SLOT_COUNT)
                frames = self.options.max_native_stack_byte_length // native
                byte_length = min(byte_length, frames * slots * SLOT_BYTE_LENGTH)
        return byte_length


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
