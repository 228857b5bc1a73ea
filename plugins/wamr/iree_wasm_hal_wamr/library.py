"""Finds and opens the native library that the plugin's build puts into the package."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from iree_wasm_hal.engine import describe_open_failure, missing_functions
from iree_wasm_hal.errors import EngineUnavailableError
from iree_wasm_hal_wamr.c_api import INTERFACE_VERSION, ffi

FOLDER = Path(__file__).parent / "lib"
FILE_NAME = "libiree_wasm_hal_wamr.so"
_REPAIR = "To build it anew: pip install --force-reinstall --no-deps iree-wasm-hal-wamr"


@dataclass(frozen=True, slots=True)
class Library:
    """The open library. ``lib`` is cffi's namespace of its functions."""

    lib: Any
    path: str
    version: str
    """WAMR's version."""


@lru_cache(maxsize=1)
def load_library() -> Library:
    """Opens the library and starts WAMR, once per process.

    Raises:
        EngineUnavailableError: The file is missing, cannot be opened, or belongs to another version
            of this plugin; or WAMR does not start.
    """
    path = FOLDER / FILE_NAME
    if not path.is_file():
        msg = f"engine 'wamr': its native library {path} is missing. {_REPAIR}"
        raise EngineUnavailableError(msg)
    try:
        # Never unloaded: the interpreter's last collection may free our objects after it.
        lib = ffi.dlopen(str(path), ffi.RTLD_NOW | getattr(ffi, "RTLD_NODELETE", 0))
    except OSError as error:
        reason = describe_open_failure(path, error)
        msg = f"engine 'wamr': {path} cannot be opened: {reason}. {_REPAIR}"
        raise EngineUnavailableError(msg) from error
    _check_interface(lib, path)
    if not lib.iwh_wamr_initialize():
        msg = f"engine 'wamr': WAMR in {path} did not start"
        raise EngineUnavailableError(msg)
    return Library(lib, str(path), ffi.string(lib.iwh_wamr_version()).decode())


def _check_interface(lib: Any, path: Path) -> None:
    """Compares the library's interface with the plugin's: one may be older than the other."""
    missing = missing_functions(ffi, lib, "iwh_wamr_")
    if missing:
        msg = f"engine 'wamr': {path} lacks {', '.join(missing)}. {_REPAIR}"
        raise EngineUnavailableError(msg)
    found = int(lib.iwh_wamr_interface_version())
    if found != INTERFACE_VERSION:
        msg = (
            f"engine 'wamr': {path} has interface {found}, this plugin needs {INTERFACE_VERSION}. "
            f"{_REPAIR}"
        )
        raise EngineUnavailableError(msg)
