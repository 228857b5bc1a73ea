"""Where the compiler's programs are, and running them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from iree_wasm_hal.errors import CompileError

__all__ = ["Toolchain", "find_toolchain", "run"]

_INSTALL = "install it with: pip install 'iree-wasm-hal[compiler]'"


@dataclass(frozen=True, slots=True)
class Toolchain:
    """Programs of the installed iree-base-compiler."""

    iree_compile: Path
    lld: Path


def find_toolchain() -> Toolchain:
    """Finds the programs without importing the compiler (a library of 300 MB).

    Raises:
        CompileError: iree-base-compiler is not installed, or lacks a program.
    """
    try:
        spec = importlib.util.find_spec("iree.compiler")
    except ModuleNotFoundError:
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise CompileError(f"the IREE compiler (iree-base-compiler) is not installed; {_INSTALL}")
    directory = Path(next(iter(spec.submodule_search_locations))) / "_mlir_libs"
    toolchain = Toolchain(directory / "iree-compile", directory / "iree-lld")
    for program in (toolchain.iree_compile, toolchain.lld):
        if not program.is_file():
            raise CompileError(
                f"{program} does not exist; iree-base-compiler is broken; {_INSTALL}"
            )
    return toolchain


def run(command: list[str], log: Path, title: str) -> int:
    """Runs a program with its output appended to ``log``; returns the exit status.

    A negative status is the signal that ended the program.
    """
    with log.open("ab") as stream:
        stream.write(f"$ {' '.join(command)}\n".encode())
        stream.flush()
        try:
            process = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, check=False
            )
        except OSError as error:
            raise CompileError(f"{title} cannot be started: {error}") from error
        stream.write(f"exit status {process.returncode}\n".encode())
    return process.returncode


def require_module(name: str, purpose: str) -> None:
    """Checks that a Python module can be imported.

    Raises:
        CompileError: It is not installed; says what for and how to install it.
    """
    if importlib.util.find_spec(name) is None:
        raise CompileError(f"the Python package {name!r} is not installed; {purpose}; {_INSTALL}")


PYTHON = sys.executable
"""The interpreter that runs the compiler's Python tools."""
