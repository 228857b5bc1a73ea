"""The cache: entries under keys, bounded in size, and never a reason for a load to fail."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from iree_wasm_hal.cache.folder import (
    TEMPORARY_PREFIX,
    FileRecord,
    Folder,
    NotOursError,
    is_supported,
    open_folder,
)
from iree_wasm_hal.cache.sealing import (
    MAX_HEADER_BYTE_LENGTH,
    ensure_secret,
    read_secret,
    seal,
    unseal,
)
from iree_wasm_hal.errors import ArgumentError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence

__all__ = ["DEFAULT_MAX_BYTES", "CacheInfo", "CodeCache", "key_of"]

DEFAULT_MAX_BYTES = 512 << 20
_UNFINISHED_LIFETIME_S = 3600.0
"""What is older and still unfinished was left by a process that was killed."""

_SUFFIX = ".iree-wasm-hal"
_OWN_NAME = re.compile(
    rf"[a-z-]+-[0-9a-f]{{64}}{re.escape(_SUFFIX)}|{re.escape(TEMPORARY_PREFIX)}[0-9a-f]{{16}}"
)

_LOGGER = logging.getLogger("iree_wasm_hal.cache")
_TOLD: set[tuple[str, str]] = set()
_TOLD_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """What a cache holds.

    Attributes:
        folder: Where it is.
        entries: Number of entries by kind: ``kernels``, ``host-programs``.
        byte_length: Of all entries, unfinished ones included.
        max_byte_length: Above which those that were used longest ago go.
        oldest_use_s: When the entry that goes first was used last, in seconds since the epoch; None
            if there is none.
        cause: Why the cache is off; None if it is on.
    """

    folder: str
    entries: dict[str, int]
    byte_length: int
    max_byte_length: int
    oldest_use_s: float | None
    cause: str | None


class CodeCache:
    """Compiled code in a folder that belongs to this user alone. Thread-safe, process-safe.

    An entry is given out only if it carries an HMAC with the folder's key over its name and its
    contents; one that does not is removed. A folder or key that others can write is not used.
    What goes wrong is told once, as a warning of the logger ``iree_wasm_hal.cache``, and is
    otherwise as if there were no cache.

    Args:
        folder: Where the entries are; made if it is missing.
        max_bytes: Size of all entries above which those that were used longest ago are removed.

    Raises:
        ArgumentError: ``max_bytes`` is negative.
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, max_bytes: int = DEFAULT_MAX_BYTES
    ) -> None:
        if max_bytes < 0:
            raise ArgumentError(f"max_bytes is {max_bytes}; expected 0 or more")
        self.folder = Path(folder).absolute()
        self.max_bytes = max_bytes

    def __repr__(self) -> str:
        return f"CodeCache({str(self.folder)!r}, max_bytes={self.max_bytes})"

    def get(self, kind: str, key: bytes) -> list[bytes] | None:
        """The parts of an entry, exactly as they were put under this kind and key.

        Args:
            kind: What the entry is, one word.
            key: A SHA-256 digest, see ``key_of``.

        Returns:
            None where there is no entry, or none that can be believed.
        """
        name = _name(kind, key)
        if not is_supported():
            return None
        try:
            with open_folder(self.folder) as folder:
                return _read(folder, name, self.max_bytes)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._tell("is not used", error)
            return None

    def put(self, kind: str, key: bytes, payload: Sequence[bytes | memoryview]) -> None:
        """Keeps an entry, if that is possible, and makes room for it.

        Args:
            kind: What the entry is, one word.
            key: A SHA-256 digest, see ``key_of``.
            payload: The contents, in a few parts.
        """
        name = _name(kind, key)
        if not is_supported() or sum(map(len, payload)) > self.max_bytes:
            return
        try:
            with open_folder(self.folder, create=True) as folder:
                folder.write(name, seal(ensure_secret(folder), name, payload))
                _evict(folder, self.max_bytes)
        except OSError as error:
            self._tell("takes no entries", error)

    def remove(self, kind: str, key: bytes) -> None:
        """Removes an entry that turned out to be of no use."""
        with contextlib.suppress(OSError), open_folder(self.folder) as folder:
            folder.remove(_name(kind, key))

    def info(self) -> CacheInfo:
        """What is there now."""
        records: list[FileRecord] = []
        cause = None if is_supported() else "this system has no owners and modes of files"
        if cause is None:
            try:
                with open_folder(self.folder) as folder:
                    records = _entries(folder.files())
                    read_secret(folder)
            except FileNotFoundError:
                pass  # nothing was kept so far
            except OSError as error:
                cause = _describe(error)
        kinds: dict[str, int] = {}
        finished = [one for one in records if not one.name.startswith(TEMPORARY_PREFIX)]
        for record in finished:
            kind = record.name.removesuffix(_SUFFIX).rpartition("-")[0]
            kinds[kind] = kinds.get(kind, 0) + 1
        return CacheInfo(
            folder=str(self.folder),
            entries=dict(sorted(kinds.items())),
            byte_length=sum(record.byte_length for record in records),
            max_byte_length=self.max_bytes,
            oldest_use_s=min((record.modified_s for record in finished), default=None),
            cause=cause,
        )

    def clear(self) -> tuple[int, int]:
        """Removes all entries, unfinished ones too, but not the key.

        Returns:
            How many files were removed, and their bytes.

        Raises:
            OSError: The folder is not ours, or a file cannot be removed.
        """
        count = byte_length = 0
        try:
            with open_folder(self.folder) as folder:
                for record in _entries(folder.files()):
                    if folder.remove(record.name):
                        count += 1
                        byte_length += record.byte_length
        except FileNotFoundError:
            pass  # nothing was kept so far
        return count, byte_length

    def _tell(self, what: str, error: OSError) -> None:
        with _TOLD_LOCK:
            if (str(self.folder), what) in _TOLD:
                return
            _TOLD.add((str(self.folder), what))
        _LOGGER.warning(
            "the cache of compiled code in %s %s: %s. Programs are compiled anew",
            self.folder,
            what,
            _describe(error),
        )


def key_of(*parts: bytes | memoryview | str) -> bytes:
    """A key that no other sequence of parts has."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode() if isinstance(part, str) else part
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
    return digest.digest()


def _name(kind: str, key: bytes) -> str:
    return f"{kind}-{key.hex()}{_SUFFIX}"


def _read(folder: Folder, name: str, max_bytes: int) -> list[bytes] | None:
    secret = read_secret(folder)
    payload = None
    with contextlib.suppress(NotOursError), folder.opened(name, touch=True) as file:
        if secret is not None and file.byte_length <= max_bytes + MAX_HEADER_BYTE_LENGTH:
            payload = unseal(secret, name, file)
    if payload is None:
        folder.remove(name)
    return payload


def _entries(records: Iterable[FileRecord]) -> list[FileRecord]:
    """What this class has written: the folder may be one that other things lie in, too."""
    return [record for record in records if _OWN_NAME.fullmatch(record.name)]


def _evict(folder: Folder, max_bytes: int) -> None:
    """Removes what killed processes left, then what was used longest ago, down to the bound."""
    now = time.time()
    records = sorted(_entries(folder.files()), key=lambda record: record.modified_s)
    byte_length = sum(record.byte_length for record in records)
    for record in records:
        is_unfinished = record.name.startswith(TEMPORARY_PREFIX)
        is_stale = is_unfinished and now - record.modified_s > _UNFINISHED_LIFETIME_S
        if is_stale or (byte_length > max_bytes and not is_unfinished):
            folder.remove(record.name)
            byte_length -= record.byte_length


def _describe(error: OSError) -> str:
    return error.strerror if error.strerror else str(error)
