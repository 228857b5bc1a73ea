"""Finds and opens the native library that this distribution carries."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from iree_wasm_hal.engine import describe_open_failure, missing_functions
from iree_wasm_hal.errors import EngineUnavailableError
from iree_wasm_hal_wasmer.c_api import ABI_VERSION, ffi, text

_FOLDER = Path(__file__).parent / "lib"
_FILE_NAMES = {"linux": "libiree_wasm_hal_wasmer.so", "darwin": "libiree_wasm_hal_wasmer.dylib"}
_REPAIR = (
    "To build it (cargo is needed): pip install --force-reinstall --no-deps iree-wasm-hal-wasmer"
)


@dataclass(frozen=True, slots=True)
class Library:
    """The open library. ``lib`` is cffi's namespace of its functions."""

    lib: Any
    path: str
    version: str
    """Wasmer's version."""


@lru_cache(maxsize=1)
def load_library() -> Library:
    """Opens the library, once per process.

    Raises:
        EngineUnavailableError: It was not built, is for another machine or another version of this
            plugin, or cannot be opened.
    """
    path = _find_library()
    try:
        # Never unloaded: the interpreter's last collection may free our objects after it.
        lib = ffi.dlopen(str(path), ffi.RTLD_NOW | getattr(ffi, "RTLD_NODELETE", 0))
    except OSError as error:
        reason = describe_open_failure(path, error)
        msg = f"engine 'wasmer': {path} cannot be opened: {reason}. {_REPAIR}"
        raise EngineUnavailableError(msg) from error
    _check_symbols(lib, path)
    abi_version = lib.iwh_wasmer_abi_version()
    if abi_version != ABI_VERSION:
        msg = (
            f"engine 'wasmer': {path} has ABI version {abi_version}; this plugin knows "
            f"{ABI_VERSION}. {_REPAIR}"
        )
        raise EngineUnavailableError(msg)
    byte_length = ffi.new("size_t *")
    version = text(lib.iwh_wasmer_version(byte_length), byte_length[0])
    return Library(lib, str(path), version)


def _find_library() -> Path:
    name = _FILE_NAMES.get(sys.platform)
    if name is None or sys.byteorder != "little":
        msg = f"engine 'wasmer': no library for {sys.platform} on {platform.machine()}"
        raise EngineUnavailableError(msg)
    path = _FOLDER / name
    if not path.is_file():
        msg = f"engine 'wasmer': its native library {path} is missing. {_REPAIR}"
        raise EngineUnavailableError(msg)
    return path


def _check_symbols(lib: Any, path: Path) -> None:
    """Resolves every declared function now: a missing one must not surface in a call."""
    missing = missing_functions(ffi, lib)
    if missing:
        msg = f"engine 'wasmer': {path} lacks {', '.join(missing)}. {_REPAIR}"
        raise EngineUnavailableError(msg)
