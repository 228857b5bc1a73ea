"""The bytes of an archive, mapped where they come from a file."""

from __future__ import annotations

import errno
import mmap
import os
import stat
import sys
from typing import IO, Any, TypeAlias, Union

from iree_wasm_hal.errors import Error, LimitError, LoadError

__all__ = ["Source", "open_descriptor", "open_source"]

_NO_MORE_FILES = frozenset({errno.EMFILE, errno.ENFILE})
# A mapping holds a descriptor of its own for life; from Python 3.13 on it can do without.
_NO_DESCRIPTOR: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) else {}

Source: TypeAlias = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview, IO[bytes]]
"""A path, the bytes themselves, or an open binary file."""


def open_source(source: Source) -> tuple[memoryview, str]:
    """The bytes and a name for messages.

    A path or a real file is mapped read-only and shared with the page cache; the mapping lives as
    long as anything made from it. Do not cut such a file short while it is loaded (the operating
    system ends processes that read a mapping behind the end of its file); replacing it by another
    is fine.

    Args:
        source: A path, bytes, or a binary file, which is read from its start where it is a real
            file and from where it stands otherwise.

    Raises:
        LoadError: It cannot be opened or read, or is no regular file.
        LimitError: This process may open no more files.
    """
    if isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        return _map_path(path), path
    if isinstance(source, bytes | bytearray | memoryview):
        return memoryview(source).cast("B").toreadonly(), "<bytes>"
    read = getattr(source, "read", None)
    if read is None:
        raise LoadError(f"expected a path, bytes or a binary file, got {type(source).__name__}")
    name = str(getattr(source, "name", "<file>"))
    try:
        return _map(source.fileno(), name), name
    except (AttributeError, OSError):  # io.UnsupportedOperation is an OSError: not a real file
        pass
    data = read()
    if not isinstance(data, bytes | bytearray | memoryview):
        raise LoadError(f"{name}: read() gave {type(data).__name__}; open the file in binary mode")
    return memoryview(data).cast("B").toreadonly(), name


def open_descriptor(path: str) -> int:
    """A descriptor of a file to read.

    Raises:
        LoadError: It cannot be opened.
        LimitError: This process may open no more files.
    """
    try:
        # O_NONBLOCK: opening a FIFO must not hang before fstat can refuse it.
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise _error(path, "opened", error) from error


def _map_path(path: str) -> memoryview:
    descriptor = open_descriptor(path)
    try:
        return _map(descriptor, path)
    except OSError as error:
        raise _error(path, "mapped", error) from error
    finally:
        os.close(descriptor)


def _map(descriptor: int, name: str) -> memoryview:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise LoadError(f"{name}: not a regular file")
    if status.st_size == 0:
        return memoryview(b"")
    length = status.st_size
    return memoryview(mmap.mmap(descriptor, length, access=mmap.ACCESS_READ, **_NO_DESCRIPTOR))


def _error(path: str, done: str, error: OSError | ValueError) -> Error:
    cause = (error.strerror if isinstance(error, OSError) else None) or str(error)
    what = f"{path}: cannot be {done}: {cause}"
    if not isinstance(error, OSError) or error.errno not in _NO_MORE_FILES:
        return LoadError(what)
    allowed = os.sysconf("SC_OPEN_MAX")
    return LimitError(
        f"{what}. This process may have {allowed} files open, and each loaded module is one: close "
        "modules that are not needed, or raise the limit (ulimit -n)",
        name="open files",
        asked=1,
        allowed=allowed,
    )
