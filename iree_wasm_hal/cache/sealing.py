"""Entries that only a holder of the secret can make, and the secret.

::

    magic       8 bytes
    HMAC        32 bytes: SHA-256, of the magic, the entry's name and all that follows
    count       8 bytes, little-endian: of the parts
    lengths     8 bytes for each part
    parts

The name is part of what is authenticated: one entry in the place of another is as wrong as a
changed one. Parts come back as they were put, each read into memory once and copied nowhere.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iree_wasm_hal.cache.folder import Folder, OpenFile

__all__ = [
    "MAX_HEADER_BYTE_LENGTH",
    "SECRET_NAME",
    "ensure_secret",
    "read_secret",
    "seal",
    "unseal",
]

SECRET_NAME = ".iree-wasm-hal-key"
"""A name that nobody else gives a file: a damaged one is replaced."""
_SECRET_BYTE_LENGTH = 32
_MAGIC = b"IWHCODE2"
_FIXED = struct.Struct(f"<{len(_MAGIC)}s{hashlib.sha256().digest_size}sQ")
_MAX_PART_COUNT = 8
MAX_HEADER_BYTE_LENGTH = _FIXED.size + 8 * _MAX_PART_COUNT


def read_secret(folder: Folder) -> bytes | None:
    """The secret of a folder; None where there is none, or half of one.

    Raises:
        NotOursError: Others may have read or written it.
        OSError: It cannot be read.
    """
    try:
        secret = folder.read(SECRET_NAME, most=_SECRET_BYTE_LENGTH)
    except FileNotFoundError:
        return None
    return secret if len(secret) == _SECRET_BYTE_LENGTH else None


def ensure_secret(folder: Folder) -> bytes:
    """The secret of a folder, made if need be. Processes that make one at once agree on one.

    Raises:
        NotOursError: Others may have read or written it.
        OSError: It cannot be read or made.
    """
    try:
        found = folder.read(SECRET_NAME, most=_SECRET_BYTE_LENGTH)
        is_there = True
    except FileNotFoundError:
        found, is_there = b"", False
    if len(found) == _SECRET_BYTE_LENGTH:
        return found
    # What the reading itself found decides: a look afterwards may find the secret that another
    # process has just made, and with which it has sealed entries already.
    folder.write(SECRET_NAME, [secrets.token_bytes(_SECRET_BYTE_LENGTH)], replace=is_there)
    secret = read_secret(folder)
    if secret is None:
        raise OSError(f"{SECRET_NAME} was removed as soon as it was written")
    return secret


def seal(secret: bytes, name: str, parts: Sequence[bytes | memoryview]) -> list[bytes | memoryview]:
    """What an entry's file holds, piece by piece."""
    count = len(parts)
    if count > _MAX_PART_COUNT:
        raise AssertionError(f"BUG: an entry of {count} parts; expected at most {_MAX_PART_COUNT}")
    lengths = struct.pack(f"<{count}Q", *map(len, parts))
    digest = _digest(secret, name, lengths, parts)
    return [_FIXED.pack(_MAGIC, digest, count), lengths, *parts]


def unseal(secret: bytes, name: str, file: OpenFile) -> list[bytes] | None:
    """Reads the parts of an entry; None if it is not what was sealed under that name.

    Raises:
        OSError: It cannot be read.
    """
    # Until the digest is compared, the file may be anything: nothing is believed but its size.
    fixed = file.read(_FIXED.size)
    if len(fixed) < _FIXED.size:
        return None
    magic, found, count = _FIXED.unpack(fixed)
    if magic != _MAGIC or count > _MAX_PART_COUNT:
        return None
    lengths = file.read(8 * count)
    if len(lengths) < 8 * count:
        return None
    byte_lengths = struct.unpack(f"<{count}Q", lengths)
    if _FIXED.size + len(lengths) + sum(byte_lengths) != file.byte_length:
        return None
    parts = [file.read(byte_length) for byte_length in byte_lengths]
    return parts if hmac.compare_digest(found, _digest(secret, name, lengths, parts)) else None


def _digest(secret: bytes, name: str, lengths: bytes, parts: Sequence[bytes | memoryview]) -> bytes:
    encoded = name.encode()
    begin = _MAGIC + len(encoded).to_bytes(2, "little") + encoded
    mac = hmac.new(secret, begin + len(lengths).to_bytes(8, "little") + lengths, hashlib.sha256)
    for part in parts:
        mac.update(part)
    return mac.digest()
