"""Finds and opens JavaScriptCore, which comes with the system."""

from __future__ import annotations

import mmap
import os
import platform
import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from iree_wasm_hal.engine import check_process_limits, missing_functions
from iree_wasm_hal.errors import EngineUnavailableError
from iree_wasm_hal_jsc import startup
from iree_wasm_hal_jsc.c_api import ffi

FILE_NAMES = (
    "libjavascriptcoregtk-4.1.so.0",
    "libjavascriptcoregtk-6.0.so.1",
    "libjavascriptcoregtk-4.0.so.18",
)
"""WebKitGTK's libraries with this API, in the order in which they are tried: they differ in the
version of GTK and libsoup that belongs to them, not in JavaScriptCore. 4.0 is no longer built."""

INSTALL = (
    "To install it: apt-get install libjavascriptcoregtk-4.1-0 (Debian, Ubuntu), "
    "dnf install javascriptcoregtk4.1 (Fedora) or pacman -S webkit2gtk-4.1 (Arch)"
)
_RESERVED_BYTE_LENGTH = 6 * 2**30
"""What version 2.50 reserves at its start (5.2 GiB), rounded up. It touches little of it."""

# Version 2.50 has 5 threads with two processors, and 4 descriptors; and each machine has one.
_THREAD_COUNT = 9 + (os.cpu_count() or 1)
_DESCRIPTOR_COUNT = 16

_COLLECTOR = frozenset(
    {"JSSynchronousGarbageCollectForDebugging", "_Z22jscContextGetJSContextP11_JSCContext"}
)
_OPTIONAL = _COLLECTOR | {"JSConfigureSignalForGC"}


@dataclass(frozen=True, slots=True)
class Library:
    """The open library.

    Attributes:
        lib: cffi's namespace of its functions.
        path: Its file.
        version: WebKitGTK's version.
        suspension_signal: By which the collector stops the threads of a machine.
        has_collector: Whether the library lets others collect its garbage. Without, that happens
            when JavaScriptCore wants it, at the latest when it has no room for a memory.
    """

    lib: Any
    path: str
    version: str
    suspension_signal: int
    has_collector: bool


@lru_cache(maxsize=1)
def load_library() -> Library:
    """Opens and initialises the library, once per process.

    Raises:
        EngineUnavailableError: It is missing, for another machine, or lacks functions (says which
            packages bring it), or the process has too little address space for it.
    """
    if not sys.platform.startswith("linux"):
        msg = f"engine 'jsc' needs WebKitGTK's JavaScriptCore, which {sys.platform} does not have"
        raise EngineUnavailableError(msg)
    _check_address_space()
    check_process_limits("jsc", threads=_THREAD_COUNT, descriptors=_DESCRIPTOR_COUNT)
    with startup.options_in_environment():
        lib, name = _open()
        missing = set(missing_functions(ffi, lib, ("JS", "jsc_", "_Z")))
        if missing - _OPTIONAL:
            listed = ", ".join(sorted(missing - _OPTIONAL))
            msg = (
                f"engine 'jsc': {name} lacks {listed}: it is no WebKitGTK 2.40 or newer. {INSTALL}"
            )
            raise EngineUnavailableError(msg)
        configure = None if "JSConfigureSignalForGC" in missing else lib.JSConfigureSignalForGC
        suspension_signal = startup.suspension_signal(configure)
        startup.read_options(lib)
    numbers = lib.jsc_get_major_version(), lib.jsc_get_minor_version(), lib.jsc_get_micro_version()
    return Library(
        lib,
        _path(lib, name),
        ".".join(map(str, numbers)),
        suspension_signal,
        has_collector=not missing & _COLLECTOR,
    )


def _open() -> tuple[Any, str]:
    """The library and its name: one that this process uses already, or the first that opens.

    It stays when cffi closes it at the end of the process: JavaScriptCore's threads run on.
    """
    failures = []
    for name in sorted(FILE_NAMES, key=_is_loaded, reverse=True):
        try:
            return ffi.dlopen(name, os.RTLD_NOW | os.RTLD_NODELETE), name
        except OSError as error:
            failures.append(str(error))
    broken = [failure for failure in failures if "No such file" not in failure]
    if broken:
        msg = f"engine 'jsc': JavaScriptCore cannot be opened: {broken[0]}. {INSTALL}"
    else:
        # Of a library for another machine, too, the dynamic linker says that there is no such file.
        machine = platform.machine()
        msg = (
            f"engine 'jsc': JavaScriptCore ({FILE_NAMES[0]}) is not installed for {machine}. "
            f"{INSTALL}"
        )
    raise EngineUnavailableError(msg)


def _is_loaded(name: str) -> bool:
    """Whether the process has the library open."""
    libc = ffi.dlopen(None)
    # cffi's own dlopen would die: it asks for a message where RTLD_NOLOAD leaves none.
    handle = libc.dlopen(name.encode(), os.RTLD_NOW | os.RTLD_NOLOAD)
    if handle == ffi.NULL:
        return False
    libc.dlclose(handle)
    return True


def _check_address_space() -> None:
    """Refuses where JavaScriptCore would abort the process for want of a reservation."""
    try:
        mmap.mmap(-1, _RESERVED_BYTE_LENGTH, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 0).close()
    except OSError as error:
        msg = (
            f"engine 'jsc': JavaScriptCore reserves {_RESERVED_BYTE_LENGTH} bytes of address "
            f"space, and this process cannot: {error}. Raise its limit (ulimit -v)"
        )
        raise EngineUnavailableError(msg) from error


def _path(lib: Any, name: str) -> str:
    """The file that the dynamic linker found."""
    info = ffi.new("Dl_info *")
    address = ffi.cast("void *", lib.jsc_get_major_version)
    libc = ffi.dlopen(None)
    found = libc.dladdr(address, info) and info.file_name != ffi.NULL
    return os.path.realpath(os.fsdecode(ffi.string(info.file_name))) if found else name
