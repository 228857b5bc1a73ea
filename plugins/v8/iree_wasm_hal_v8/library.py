"""Finds and opens the library that the ``mini-racer`` wheel carries, and initialises V8."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from iree_wasm_hal.engine import (
    check_process_limits,
    describe_open_failure,
    missing_functions,
)
from iree_wasm_hal.errors import EngineError, EngineUnavailableError
from iree_wasm_hal_v8.budget import ISOLATE_COUNT, MEMORY_BYTE_LENGTH, Budget
from iree_wasm_hal_v8.c_api import NOT_INITIALIZED, ffi

SUPPORTED_SERIES = "0.14"
"""mini-racer's C API is not a public one; declarations.h knows this series."""

V8_FLAGS = (
    "--experimental-wasm-type-reflection",
    "--expose-gc",
    "--maglev-filter=-iree_*",
    "--turbo-filter=-iree_*",
)
"""What V8 is initialised with. Type reflection tells the types of exports; host.js collects garbage
when programs have come and gone; of JavaScript the functions ``iree_...`` are never optimised.
mini-racer's own default, ``--single-threaded``, must be absent: without background threads V8 never
replaces the code of its baseline compiler."""

_REPAIR = f"To repair it: pip install --force-reinstall 'mini-racer=={SUPPORTED_SERIES}.*'"
_FILE_NAMES = {"linux": "libmini_racer.so", "darwin": "libmini_racer.dylib"}
_ICU_DATA_NAME = "icudtl.dat"
_LEAST_LIMITS = {
    # The C library gives V8's threads stacks of this size; V8 lets wasm use 984 KiB of it.
    "RLIMIT_STACK": (2 * 1024**2, "stack", "ulimit -s"),
    # V8 reserves 1.4 TiB and ends the process where it gets some of that and not all.
    "RLIMIT_AS": (2 * 1024**4, "address space", "ulimit -v (a cgroup limits what is really used)"),
}


@dataclass(slots=True)
class Library:
    """The open library, once per process.

    Attributes:
        lib: cffi's namespace of its functions.
        path: Its file.
        version: Version of the ``mini-racer`` package.
        v8_version: Version of the V8 in it.
        address_space: Bytes that linear memories may reserve.
        isolates: Isolates that there may be.
        forked: Whether this is a child that ``os.fork`` made after V8 was initialised.
    """

    lib: Any
    path: str
    version: str
    v8_version: str
    address_space: Budget = field(default_factory=lambda: Budget(MEMORY_BYTE_LENGTH))
    isolates: Budget = field(default_factory=lambda: Budget(ISOLATE_COUNT))
    forked: bool = False

    def check_process(self) -> None:
        """Refuses to go on in a forked child: V8's threads are not there.

        Raises:
            EngineError: This process is such a child.
        """
        if self.forked:
            msg = (
                "engine 'v8' does not work in a process forked after it was opened, which has "
                "none of V8's threads; use multiprocessing's 'spawn' or 'forkserver'"
            )
            raise EngineError(msg)


_lock = threading.Lock()


def load_library() -> Library:
    """Opens the library and initialises V8, once per process.

    Raises:
        EngineUnavailableError: The wheel is missing or of another series, the library cannot be
            opened, or V8 cannot be used in this process; says what to do.
    """
    with _lock:
        library = _load()
    try:
        library.check_process()
    except EngineError as error:
        raise EngineUnavailableError(str(error)) from error
    return library


@lru_cache(maxsize=1)
def _load() -> Library:
    try:
        version = metadata.version("mini-racer")
    except metadata.PackageNotFoundError as error:
        msg = f"engine 'v8': the PyPI package 'mini-racer' is not installed. {_REPAIR}"
        raise EngineUnavailableError(msg) from error
    if not f"{version}.".startswith(f"{SUPPORTED_SERIES}."):
        msg = (
            f"engine 'v8': the PyPI package 'mini-racer' has version {version}; this plugin knows "
            f"the C API of {SUPPORTED_SERIES}. {_REPAIR}"
        )
        raise EngineUnavailableError(msg)
    _check_resource_limits()
    path, icu_data_path = _find_files()
    # V8's own, one per processor, and those of the first two isolates.
    check_process_limits("v8", threads=2 + (os.cpu_count() or 1))
    try:
        # Never unloaded: V8's threads run its code until the process ends.
        lib = ffi.dlopen(str(path), ffi.RTLD_NOW | getattr(ffi, "RTLD_NODELETE", 0))
    except OSError as error:
        reason = describe_open_failure(path, error)
        msg = f"engine 'v8': {path} cannot be opened: {reason}. {_REPAIR}"
        raise EngineUnavailableError(msg) from error
    _check_symbols(lib, path)
    _initialize(lib, icu_data_path)
    v8_version = ffi.string(lib.mr_v8_version()).decode()
    library = Library(lib, str(path), version, v8_version)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: setattr(library, "forked", True))
    return library


def _initialize(lib: Any, icu_data_path: Path) -> None:
    """Initialises V8, unless another user of mini-racer has: that is for once and for all.

    mini-racer's own Python half may come later; it then works with our flags.
    """
    if lib.mr_context_count() == NOT_INITIALIZED:
        lib.mr_init_v8(" ".join(V8_FLAGS).encode(), os.fsencode(icu_data_path))


def _find_files() -> tuple[Path, Path]:
    """Library and Unicode data, without importing ``py_mini_racer``."""
    name = _FILE_NAMES.get(sys.platform)
    if name is None or sys.byteorder != "little":
        msg = f"engine 'v8': no support for {sys.platform}; it needs Linux or macOS"
        raise EngineUnavailableError(msg)
    spec = importlib.util.find_spec("py_mini_racer")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        paths = Path(folder) / name, Path(folder) / _ICU_DATA_NAME
        if all(path.is_file() for path in paths):
            return paths
    msg = f"engine 'v8': the package has no {name} with {_ICU_DATA_NAME}. {_REPAIR}"
    raise EngineUnavailableError(msg)


def _check_symbols(lib: Any, path: Path) -> None:
    """Resolves every declared function now: a missing one must not surface in a call."""
    missing = missing_functions(ffi, lib, "mr_")
    if missing:
        msg = f"engine 'v8': {path} lacks {', '.join(missing)}. {_REPAIR}"
        raise EngineUnavailableError(msg)


def _check_resource_limits() -> None:
    """Refuses limits of this process under which V8 would end it."""
    import resource  # noqa: PLC0415  # absent on Windows, where there is no library either

    for name, (least, what, command) in _LEAST_LIMITS.items():
        limit, _ = resource.getrlimit(getattr(resource, name))
        if limit != resource.RLIM_INFINITY and limit < least:
            msg = (
                f"engine 'v8': this process is limited to {limit} bytes of {what}; V8 needs "
                f"{least} or more: raise the limit with {command}"
            )
            raise EngineUnavailableError(msg)
