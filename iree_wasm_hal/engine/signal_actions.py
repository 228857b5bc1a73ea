"""What the operating system does on a signal, read and written as it stands.

Python's ``signal`` module sees only handlers that were set through it. Those of native libraries
are reached through the C library's ``sigaction``.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import signal
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "IS_SUPPORTED",
    "Action",
    "Handler",
    "Handlers",
    "describe_handler",
    "is_of_python",
    "library_of",
    "mapped_files",
    "on_alternate_stack",
    "read_action",
    "write_action",
]

IS_SUPPORTED = sys.platform in {"linux", "darwin"}
"""Whether this platform has ``sigaction`` with the handler as the first member of its struct."""

_STRUCT_BYTE_LENGTH = 512
"""More than ``struct sigaction`` has anywhere (152 on 64-bit Linux); its members stay opaque."""

_FLAGS_OFFSET = 136
"""Of ``sa_flags`` in 64-bit Linux: after a handler of 8 bytes and a signal mask of 128."""
_SA_ONSTACK = 0x08000000
"""Of Linux on most machines (asm-generic/signal-defs.h), those two among them."""
_KNOWS_FLAGS = sys.platform == "linux" and platform.machine() in {"x86_64", "aarch64"}

Handler = int
"""Address of a handler function, or ``SIG_DFL`` or ``SIG_IGN``."""


@dataclass(frozen=True, slots=True)
class Action:
    """A ``struct sigaction``.

    Only ``handler`` may be compared: of the signal mask, C libraries leave bytes undefined.
    """

    handler: Handler
    raw: bytes


class _Origin(ctypes.Structure):
    """``Dl_info`` of dlfcn.h."""

    _fields_ = (
        ("file_name", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("symbol_name", ctypes.c_char_p),
        ("symbol_address", ctypes.c_void_p),
    )


class Handlers:
    """The handler of one signal, read again and again. Thread-safe: all threads read the same.

    ``ctypes.PyDLL`` keeps the GIL, which costs less than to give it up for a fast system call.
    """

    __slots__ = ("_buffer", "_handler", "_reference", "_sigaction", "signal_number")

    def __init__(self, signal_number: int) -> None:
        self.signal_number = signal_number
        self._sigaction = _c_library().sigaction
        self._buffer = ctypes.create_string_buffer(_STRUCT_BYTE_LENGTH)
        self._reference = ctypes.byref(self._buffer)
        self._handler = ctypes.c_void_p.from_buffer(self._buffer)

    def current(self) -> Handler:
        """The handler as it is now."""
        self._sigaction(self.signal_number, None, self._reference)
        return self._handler.value or 0


@functools.lru_cache(maxsize=1)
def _c_library() -> Any:
    return ctypes.PyDLL(None, use_errno=True)


def read_action(signal_number: int) -> Action:
    """What happens on a signal now."""
    buffer = ctypes.create_string_buffer(_STRUCT_BYTE_LENGTH)
    _sigaction(signal_number, None, ctypes.byref(buffer))
    return Action(ctypes.c_void_p.from_buffer(buffer).value or 0, buffer.raw)


def write_action(signal_number: int, action: Action) -> None:
    """Puts an action in place of the present one."""
    _sigaction(signal_number, action.raw, None)


def on_alternate_stack(action: Action) -> Action:
    """The same action with a handler that runs on the thread's alternate stack, if it has one.

    A handler without it cannot even begin where the fault is that the stack is exhausted.
    Returns ``action`` itself where it is so already, or where the platform's struct is not known.
    """
    if not _KNOWS_FLAGS:
        return action
    (flags,) = struct.unpack_from("=I", action.raw, _FLAGS_OFFSET)
    if flags & _SA_ONSTACK:
        return action
    raw = bytearray(action.raw)
    struct.pack_into("=I", raw, _FLAGS_OFFSET, flags | _SA_ONSTACK)
    return Action(action.handler, bytes(raw))


def _sigaction(signal_number: int, new: bytes | None, old: Any) -> None:
    if _c_library().sigaction(signal_number, new, old):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), f"sigaction({signal_number})")


def library_of(handler: Handler) -> str:
    """File of the library that a handler is a function of; ``""`` if that is unknown."""
    origin = _origin(handler)
    return os.fsdecode(origin.file_name) if origin and origin.file_name else ""


def mapped_files() -> str:
    """Text with the paths of all files that this process has mapped; ``""`` if that is unknown."""
    try:
        return Path("/proc/self/maps").read_text(errors="surrogateescape")
    except OSError:
        return ""


def is_of_python(handler: Handler) -> bool:
    """Whether a handler is a function of the Python interpreter itself."""
    python = _origin(ctypes.cast(ctypes.pythonapi.Py_IsInitialized, ctypes.c_void_p).value or 0)
    origin = _origin(handler)
    return origin is not None and python is not None and origin.base == python.base


def describe_handler(signal_number: int, handler: Handler) -> str:
    """Who handles a signal, for messages."""
    function = signal.getsignal(signal_number)
    if is_of_python(handler) and callable(function):
        return f"the Python function {getattr(function, '__qualname__', function)!r}"
    origin = _origin(handler)
    name = os.fsdecode(origin.symbol_name) if origin and origin.symbol_name else "a function"
    return f"{name} of {library_of(handler) or 'unknown code'} at {handler:#x}"


def _origin(address: int) -> _Origin | None:
    """What the dynamic loader knows of an address."""
    origin = _Origin()
    try:
        found = _c_library().dladdr(ctypes.c_void_p(address), ctypes.byref(origin))
    except AttributeError:  # a C library before glibc 2.34 has it elsewhere
        return None
    return origin if found else None
