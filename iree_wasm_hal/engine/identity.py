"""What compiled code depends on, beside the code: the library that made it, and the CPU."""

from __future__ import annotations

import os
import platform
from functools import lru_cache

__all__ = ["cpu_identity", "file_identity"]

_CPU_FILE = "/proc/cpuinfo"
# The first processor's paragraph; the file has one for each, and reading all takes long.
_CPU_BYTE_LENGTH = 8192
_CPU_FIELDS = (
    "vendor_id",
    "cpu family",
    "model",
    "flags",
    "CPU implementer",
    "CPU architecture",
    "CPU variant",
    "CPU part",
    "Features",
    "isa",
    "uarch",
)


@lru_cache(maxsize=1)
def cpu_identity() -> str:
    """Architecture, model and features of this machine's CPU, as the operating system has them."""
    lines = []
    try:
        with open(_CPU_FILE, "rb", buffering=0) as file:
            paragraph = file.read(_CPU_BYTE_LENGTH).decode(errors="replace").split("\n\n")[0]
    except OSError:  # no Linux
        lines.append(platform.processor())
    else:
        for line in paragraph.splitlines():
            name, _, value = line.partition(":")
            if name.strip() in _CPU_FIELDS:
                lines.append(f"{name.strip()}={value.strip()}")
    return "; ".join([platform.machine(), *lines])


def file_identity(path: str | os.PathLike[str]) -> str:
    """Which build of a library a file is, without reading it: size and time of its last change.

    A version number stays the same when a library is built anew with other options.

    Raises:
        OSError: There is no such file.
    """
    status = os.stat(path)
    return f"{status.st_size} bytes of {status.st_mtime_ns}"
