"""A folder that belongs to this user alone, and the files in it.

Every access goes through a descriptor of the folder, whose owner and mode were looked at: whoever
renames or replaces the folder afterwards changes nothing that is read here. The folder is opened
for one operation and closed after it, so nothing is held that a fork or a deletion could spoil.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = [
    "TEMPORARY_PREFIX",
    "FileRecord",
    "Folder",
    "NotOursError",
    "OpenFile",
    "is_supported",
    "open_folder",
]

TEMPORARY_PREFIX = ".iree-wasm-hal-unfinished-"
"""Begins the names of files that are being written; a killed process leaves one behind."""

_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_OPEN_TO_OTHERS = stat.S_IRWXG | stat.S_IRWXO
# A pipe in the place of a file must not block who opens it.
_READ = ("O_RDONLY", "O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK")
_CREATE = ("O_WRONLY", "O_CREAT", "O_EXCL", "O_NOFOLLOW", "O_CLOEXEC")
# What file systems without hard links say of them.
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_FOLDER = ("O_RDONLY", "O_DIRECTORY", "O_NOFOLLOW", "O_CLOEXEC")


class NotOursError(OSError):
    """Somebody else could have written what lies there."""


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file in the folder."""

    name: str
    byte_length: int
    modified_s: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file that is ours, open at its start.

    Attributes:
        byte_length: Of the whole file when it was opened.
    """

    descriptor: int
    byte_length: int

    def read(self, byte_length: int) -> bytes:
        """The next bytes; fewer where the file ends.

        Raises:
            OSError: They cannot be read.
        """
        data = os.read(self.descriptor, byte_length)
        while len(data) < byte_length:  # Linux reads 2 GiB at most
            more = os.read(self.descriptor, byte_length - len(data))
            if not more:
                break
            data += more
        return data


class Folder:
    """An open folder that is ours. Made by ``open_folder``."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, name: str, *, most: int) -> bytes:
        """The contents of a file.

        Args:
            name: Its name.
            most: What has more bytes is none of ours: it is given out as empty, and not read.

        Raises:
            FileNotFoundError: There is none.
            NotOursError: It is a link or no regular file, or others may read or write it.
            OSError: It cannot be read.
        """
        with self.opened(name) as file:
            return file.read(file.byte_length) if file.byte_length <= most else b""

    @contextlib.contextmanager
    def opened(self, name: str, *, touch: bool = False) -> Iterator[OpenFile]:
        """Opens a file to read.

        Args:
            name: Its name.
            touch: Whether to mark it as used now.

        Raises:
            FileNotFoundError: There is none.
            NotOursError: It is a link or no regular file, or others may read or write it.
            OSError: It cannot be opened.
        """
        descriptor = os.open(name, _flags(_READ), dir_fd=self._descriptor)
        try:
            status = os.fstat(descriptor)
            _check_owner(name, status)
            if not stat.S_ISREG(status.st_mode) or status.st_mode & _OPEN_TO_OTHERS:
                raise NotOursError(
                    f"{name} is {stat.filemode(status.st_mode)}; expected -rw-------"
                )
            if touch:
                with contextlib.suppress(OSError):  # a read-only file system
                    os.utime(descriptor)
            yield OpenFile(descriptor, status.st_size)
        finally:
            os.close(descriptor)

    def write(
        self, name: str, parts: Sequence[bytes | memoryview], *, replace: bool = True
    ) -> None:
        """Writes a file that is there as a whole or not at all, whoever ends this process.

        Args:
            name: Its name.
            parts: The contents.
            replace: Whether a file of that name is replaced, or kept.

        Raises:
            OSError: It cannot be written; nothing is left behind.
        """
        temporary = f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
        descriptor = os.open(temporary, _flags(_CREATE), 0o600, dir_fd=self._descriptor)
        try:
            with open(descriptor, "wb") as file:
                for part in parts:
                    file.write(part)
                file.flush()
                os.fsync(descriptor)
            if replace or not self._link(temporary, name):
                os.rename(temporary, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        finally:
            self.remove(temporary)

    def _link(self, temporary: str, name: str) -> bool:
        """Gives a file its name if nothing has it; whether the file system can do that."""
        try:
            os.link(temporary, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        except FileExistsError:
            return True
        except OSError as error:
            if error.errno in _NO_LINKS:
                return False
            raise
        return True

    def remove(self, name: str) -> bool:
        """Removes a file; whether there was one.

        Raises:
            OSError: It cannot be removed.
        """
        try:
            os.unlink(name, dir_fd=self._descriptor)
        except FileNotFoundError:
            return False
        return True

    def files(self) -> list[FileRecord]:
        """The regular files that are there now."""
        found = []
        with os.scandir(self._descriptor) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode):
                        found.append(FileRecord(entry.name, status.st_size, status.st_mtime))
        return found


def is_supported() -> bool:
    """Whether this system has owners, modes and descriptors of folders."""
    return hasattr(os, "geteuid") and os.open in os.supports_dir_fd and os.scandir in os.supports_fd


@contextlib.contextmanager
def open_folder(path: Path, *, create: bool = False) -> Iterator[Folder]:
    """Opens a folder for one operation.

    Args:
        path: Where it is.
        create: Whether to make it, for this user alone, where it is missing.

    Raises:
        FileNotFoundError: There is none.
        NotOursError: It is a link or no folder, somebody else's, or others may write in it.
        OSError: It cannot be made or opened.
    """
    if create:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
    try:
        descriptor = os.open(path, _flags(_FOLDER))
    except NotADirectoryError as error:  # what O_NOFOLLOW says of a link here
        raise NotOursError("it is a symbolic link or no folder") from error
    try:
        status = os.fstat(descriptor)
        _check_owner("it", status)
        if status.st_mode & _WRITABLE_BY_OTHERS:
            mode = stat.S_IMODE(status.st_mode)
            raise NotOursError(
                f"others can write in it (mode {mode:03o}); chmod 700 makes it yours"
            )
        yield Folder(descriptor)
    finally:
        os.close(descriptor)


def _check_owner(what: str, status: os.stat_result) -> None:
    if status.st_uid != os.geteuid():
        raise NotOursError(f"{what} belongs to user {status.st_uid}, not to {os.geteuid()}")


def _flags(names: Sequence[str]) -> int:
    # By name, since they do not exist on every system on which this module is imported.
    flags = 0
    for name in names:
        flags |= getattr(os, name)
    return flags
