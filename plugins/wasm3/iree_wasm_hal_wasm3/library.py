"""Finds and opens the extension module of ``pywasm3``, which exports wasm3's C API."""

from __future__ import annotations

import importlib.util
import platform
import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from typing import Any

from iree_wasm_hal.engine import describe_open_failure, missing_functions
from iree_wasm_hal.errors import EngineUnavailableError
from iree_wasm_hal_wasm3.c_api import WASM3_VERSION, ffi

_REPAIR = f"To repair it: pip install --force-reinstall pywasm3=={WASM3_VERSION}"


@dataclass(frozen=True, slots=True)
class Library:
    """The open extension module. ``lib`` is cffi's namespace of its C functions."""

    lib: Any
    path: str
    version: str


@lru_cache(maxsize=1)
def load_library() -> Library:
    """Opens the extension module as a C library, once per process.

    Raises:
        EngineUnavailableError: The package is missing, of another version, not for this platform,
            or the library cannot be opened.
    """
    try:
        version = metadata.version("pywasm3")
    except metadata.PackageNotFoundError as error:
        msg = f"engine 'wasm3': the PyPI package 'pywasm3' is not installed. {_REPAIR}"
        raise EngineUnavailableError(msg) from error
    if version != WASM3_VERSION:
        msg = (
            f"engine 'wasm3': the PyPI package 'pywasm3' has version {version}; this plugin knows "
            f"the structs of version {WASM3_VERSION}. {_REPAIR}"
        )
        raise EngineUnavailableError(msg)
    path = _find_library()
    try:
        # Never unloaded: the interpreter's last collection may free our objects after it.
        lib = ffi.dlopen(path, ffi.RTLD_NOW | getattr(ffi, "RTLD_NODELETE", 0))
    except OSError as error:
        reason = describe_open_failure(path, error)
        msg = f"engine 'wasm3': {path} cannot be opened: {reason}. {_REPAIR}"
        raise EngineUnavailableError(msg) from error
    _check_symbols(lib, path)
    return Library(lib, path, version)


def _find_library() -> str:
    """The extension module's file, without importing it."""
    if sys.maxsize < 2**63 - 1 or sys.byteorder != "little" or sys.platform == "win32":
        msg = f"engine 'wasm3': not supported on {sys.platform}, {platform.machine()}"
        raise EngineUnavailableError(msg)
    spec = importlib.util.find_spec("wasm3")
    if spec is None or not spec.origin:
        msg = f"engine 'wasm3': the package 'pywasm3' has no module 'wasm3'. {_REPAIR}"
        raise EngineUnavailableError(msg)
    return spec.origin


def _check_symbols(lib: Any, path: str) -> None:
    """Resolves every declared function now: a missing one must not surface in a call."""
    missing = missing_functions(ffi, lib, "m3")
    if missing:
        msg = f"engine 'wasm3': {path} lacks {', '.join(missing)}. {_REPAIR}"
        raise EngineUnavailableError(msg)
