"""Finds and opens the runtime library, which loads and runs compiled programs."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from iree_wasm_hal.engine import describe_open_failure, missing_functions
from iree_wasm_hal.errors import EngineUnavailableError
from iree_wasm_hal_wamr_aot.c_api import (
    MESSAGE_CAPACITY,
    RUNTIME_INTERFACE_VERSION,
    ffi,
    message_text,
)

FOLDER = Path(__file__).parent / "lib"
FILE_NAME = "libiree_wasm_hal_wamr_aot.so"
REPAIR = "To build it anew: pip install --force-reinstall --no-deps iree-wasm-hal-wamr-aot"


@dataclass(frozen=True, slots=True)
class Library:
    """The open library. ``lib`` is cffi's namespace of its functions."""

    lib: Any
    path: str
    version: str
    """WAMR's version."""
    cpu_features: frozenset[str]
    """What this machine's CPU has of what the library knows, in LLVM's words."""


@lru_cache(maxsize=1)
def load_library() -> Library:
    """Opens the library and starts WAMR, once per process.

    Raises:
        EngineUnavailableError: This is no x86-64 Linux; or the file is missing, cannot be opened,
            or belongs to another version of this plugin; or WAMR does not start.
    """
    _check_platform()
    path = FOLDER / FILE_NAME
    lib = open_library(path, "iwh_wamr_aot_")
    check_interface(path, int(lib.iwh_wamr_aot_interface_version()), RUNTIME_INTERFACE_VERSION)
    message = ffi.new("char[]", MESSAGE_CAPACITY)
    if not lib.iwh_wamr_aot_initialize(message, MESSAGE_CAPACITY):
        msg = f"engine 'wamr-aot': WAMR in {path} did not start: {message_text(message)}"
        raise EngineUnavailableError(msg)
    features = ffi.string(lib.iwh_wamr_aot_cpu_features()).decode()
    return Library(
        lib,
        str(path),
        ffi.string(lib.iwh_wamr_aot_version()).decode(),
        frozenset(word.removeprefix("+") for word in features.split(",") if word),
    )


def open_library(path: Path, prefix: str) -> Any:
    """Opens one of the two libraries and looks for its functions.

    Raises:
        EngineUnavailableError: It is missing, cannot be opened, or lacks functions.
    """
    if not path.is_file():
        msg = f"engine 'wamr-aot': its native library {path} is missing. {REPAIR}"
        raise EngineUnavailableError(msg)
    try:
        # Never unloaded: the interpreter's last collection may free our objects after it.
        lib = ffi.dlopen(str(path), ffi.RTLD_NOW | getattr(ffi, "RTLD_NODELETE", 0))
    except OSError as error:
        reason = describe_open_failure(path, error)
        msg = f"engine 'wamr-aot': {path} cannot be opened: {reason}. {REPAIR}"
        raise EngineUnavailableError(msg) from error
    missing = missing_functions(ffi, lib, prefix)
    if missing:
        msg = f"engine 'wamr-aot': {path} lacks {', '.join(missing)}. {REPAIR}"
        raise EngineUnavailableError(msg)
    return lib


def check_interface(path: Path, found: int, needed: int) -> None:
    """Compares a library's interface with the plugin's: one may be older than the other.

    Raises:
        EngineUnavailableError: They differ.
    """
    if found != needed:
        msg = (
            f"engine 'wamr-aot': {path} has interface {found}, this plugin needs {needed}. {REPAIR}"
        )
        raise EngineUnavailableError(msg)


def _check_platform() -> None:
    machine = platform.machine()
    if not sys.platform.startswith("linux") or machine not in {"x86_64", "AMD64"}:
        msg = (
            f"engine 'wamr-aot' runs on x86-64 Linux only, and this is {machine} {sys.platform}. "
            "To run the same file here, use another engine: iree-wasm engines lists them"
        )
        raise EngineUnavailableError(msg)
