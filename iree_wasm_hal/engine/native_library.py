"""Why a native library cannot be opened, where the dynamic loader's words mislead.

glibc reports a library for another CPU as a file that does not exist.
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path

__all__ = ["describe_open_failure"]

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


def _header(path: str | Path) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(_HEADER_BYTE_LENGTH)
    except OSError:
        return b""


def _machine(header: bytes) -> str:
    number = int.from_bytes(header[18:20], "little" if header[5] == 1 else "big")
    return _MACHINES.get(number, f"ELF machine {number}")
