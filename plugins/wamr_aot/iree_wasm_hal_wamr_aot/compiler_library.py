"""Finds and opens the compiler library, which has LLVM inside, when there is something to compile.

A process that loads compiled programs never opens it. What must be known of it before stands in a
small file beside it, which the build writes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from iree_wasm_hal.engine import file_identity
from iree_wasm_hal.errors import EngineUnavailableError
from iree_wasm_hal_wamr_aot import library
from iree_wasm_hal_wamr_aot.c_api import COMPILER_INTERFACE_VERSION, ffi

FILE_NAME = "libiree_wasm_hal_wamr_aotc.so"
RECORD_NAME = "compiler.json"
"""Fields of ``CompilerRecord``; written by hatch_build_wamr_aot.py."""


@dataclass(frozen=True, slots=True)
class CompilerRecord:
    """What is known of the compiler library without opening it."""

    llvm_version: str
    can_widen: bool
    """Whether it merges 128-bit operations into wider ones."""


@dataclass(frozen=True, slots=True)
class Compiler:
    """The open library. ``lib`` is cffi's namespace of its functions."""

    lib: Any
    path: str
    llvm_version: str
    host_cpu: str
    """LLVM's name for this machine's CPU, for which code is tuned."""


def read_record() -> CompilerRecord | None:
    """What the build wrote of the compiler library; None where there is no compiler."""
    record = library.FOLDER / RECORD_NAME
    if not (library.FOLDER / FILE_NAME).is_file() or not record.is_file():
        return None
    return CompilerRecord(**json.loads(record.read_text()))


def compiler_identity() -> str:
    """Which build of the compiler there is, without opening it."""
    path = library.FOLDER / FILE_NAME
    return f"compiler {file_identity(path)}" if path.is_file() else "no compiler"


@lru_cache(maxsize=1)
def load_compiler() -> Compiler:
    """Opens the library and starts LLVM, once per process.

    Raises:
        EngineUnavailableError: The file is missing, cannot be opened, or belongs to another version
            of this plugin.
    """
    path = library.FOLDER / FILE_NAME
    if not path.is_file():
        msg = (
            f"engine 'wamr-aot' cannot compile here: its compiler {path} is missing; it loads "
            f"compiled programs (Engine.deserialize) without. To build the compiler: apt-get "
            f"install llvm-22-dev zlib1g-dev libzstd-dev, then make engines in a checkout, or pip "
            f"install --force-reinstall --no-deps iree-wasm-hal-wamr-aot"
        )
        raise EngineUnavailableError(msg)
    lib = library.open_library(path, "iwh_aotc_")
    found = int(lib.iwh_aotc_interface_version())
    library.check_interface(path, found, COMPILER_INTERFACE_VERSION)
    if not lib.iwh_aotc_initialize():
        msg = f"engine 'wamr-aot': LLVM in {path} did not start. {library.REPAIR}"
        raise EngineUnavailableError(msg)
    return Compiler(
        lib,
        str(path),
        ffi.string(lib.iwh_aotc_llvm_version()).decode(),
        ffi.string(lib.iwh_aotc_host_cpu()).decode(),
    )
