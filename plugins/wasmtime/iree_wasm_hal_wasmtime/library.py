"""Finds and opens the C library that the ``wasmtime`` wheel carries."""

from __future__ import annotations

import importlib.util
import platform
import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from iree_wasm_hal.engine import describe_open_failure, missing_functions
from iree_wasm_hal.errors import EngineUnavailableError
from iree_wasm_hal_wasmtime.c_api import ffi

SUPPORTED_MAJOR = 50
"""wasmtime's C API changes structs between major versions; declarations.h knows this one."""

_REPAIR = "To repair it: pip install --force-reinstall 'wasmtime>=50,<51'"
_FILE_NAMES = {"linux": "_libwasmtime.so", "android": "_libwasmtime.so"}
_FILE_NAMES |= {"darwin": "_libwasmtime.dylib", "win32": "_wasmtime.dll"}
_MACHINES = {"amd64": "x86_64", "x86_64": "x86_64", "arm64": "aarch64", "aarch64": "aarch64"}


@dataclass(frozen=True, slots=True)
class Library:
    """The open C library. ``lib`` is cffi's namespace of its functions."""

    lib: Any
    path: str
    version: str


@lru_cache(maxsize=1)
def load_library() -> Library:
    """Opens the C library, once per process.

    Raises:
        EngineUnavailableError: The wheel is missing, of another major version, lacks a library
            for this platform, or the library cannot be opened.
    """
    try:
        version = metadata.version("wasmtime")
    except metadata.PackageNotFoundError as error:
        msg = f"engine 'wasmtime': the PyPI package 'wasmtime' is not installed. {_REPAIR}"
        raise EngineUnavailableError(msg) from error
    if version.partition(".")[0] != str(SUPPORTED_MAJOR):
        msg = (
            f"engine 'wasmtime': the PyPI package 'wasmtime' has version {version}; this plugin "
            f"knows the C API of version {SUPPORTED_MAJOR}. {_REPAIR}"
        )
        raise EngineUnavailableError(msg)
    path = _find_library()
    try:
        # Never unloaded: the interpreter's last collection may free our objects after it.
        lib = ffi.dlopen(str(path), ffi.RTLD_NOW | getattr(ffi, "RTLD_NODELETE", 0))
    except OSError as error:
        reason = describe_open_failure(path, error)
        msg = f"engine 'wasmtime': {path} cannot be opened: {reason}. {_REPAIR}"
        raise EngineUnavailableError(msg) from error
    _check_symbols(lib, path)
    return Library(lib, str(path), version)


def _find_library() -> Path:
    """The library's file, without importing ``wasmtime`` (which would open it by ctypes)."""
    name = _FILE_NAMES.get(sys.platform)
    machine = _MACHINES.get(platform.machine().lower())
    if name is None or machine is None or sys.byteorder != "little":
        msg = f"engine 'wasmtime': no library for {sys.platform} on {platform.machine()}"
        raise EngineUnavailableError(msg)
    spec = importlib.util.find_spec("wasmtime")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / f"{sys.platform}-{machine}" / name
        if path.is_file():
            return path
    msg = f"engine 'wasmtime': the package has no {sys.platform}-{machine}/{name}. {_REPAIR}"
    raise EngineUnavailableError(msg)


def _check_symbols(lib: Any, path: Path) -> None:
    """Resolves every declared function now: a missing one must not surface in a call."""
    missing = missing_functions(ffi, lib, "wasm")
    if missing:
        msg = f"engine 'wasmtime': {path} lacks {', '.join(missing)}. {_REPAIR}"
        raise EngineUnavailableError(msg)
