"""What is wrong with a native library, in words that help.

The dynamic loader's own mislead: glibc reports a library for another CPU as a file that does not
exist. And cffi looks for a function when it is first used, which may be in a call.
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import Any

__all__ = ["describe_open_failure", "missing_functions"]

_ELF_MAGIC = b"\x7fELF"
_HEADER_BYTE_LENGTH = 20
# e_machine; source: the System V ABI's registry, as in elf.h.
_MACHINES = {3: "i386", 21: "ppc64", 22: "s390x", 40: "arm", 62: "x86_64", 183: "aarch64"}
_MACHINES |= {243: "riscv64", 258: "loongarch64"}


def describe_open_failure(path: str | Path, error: OSError) -> str:
    """What is wrong with a library file, in half a sentence.

    Args:
        path: The file that was to be opened.
        error: What opening it raised; its text is the answer where the file tells nothing more.
    """
    header, own = _header(path), _header(sys.executable)
    if not own.startswith(_ELF_MAGIC) or not header:
        return str(error)
    if not header.startswith(_ELF_MAGIC):
        return f"it is no library, it begins with {header[:8]!r}"
    # Word size and byte order, and the machine.
    if (header[4:6], header[18:20]) != (own[4:6], own[18:20]):
        return f"it is a library for {_machine(header)}, this Python is for {platform.machine()}"
    return str(error)


def missing_functions(ffi: Any, lib: Any, prefix: str | tuple[str, ...] = "") -> list[str]:
    """Names of the declared functions that a library lacks, sorted.

    Args:
        ffi: The ``cffi.FFI`` that declares them.
        lib: The open library, of ``ffi.dlopen``.
        prefix: How the names begin that are to be looked for, as ``str.startswith`` takes it.
    """
    names = sorted(name for name in dir(lib) if name.startswith(prefix))
    return [name for name in names if not _resolves(ffi, lib, name)]


def _resolves(ffi: Any, lib: Any, name: str) -> bool:
    try:
        getattr(lib, name)
    except ffi.error:
        return False
    return True


def _header(path: str | Path) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(_HEADER_BYTE_LENGTH)
    except OSError:
        return b""


def _machine(header: bytes) -> str:
    number = int.from_bytes(header[18:20], "little" if header[5] == 1 else "big")
    return _MACHINES.get(number, f"ELF machine {number}")
