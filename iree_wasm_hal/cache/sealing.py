"""Entries that only a holder of the secret can make, and the secret.

::

    magic       8 bytes
    HMAC        32 bytes: SHA-256, of the magic, the entry's name and the payload
    payload

The name is part of what is authenticated: one entry in the place of another is as wrong as a
changed one.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iree_wasm_hal.cache.folder import Folder

__all__ = ["HEADER_BYTE_LENGTH", "SECRET_NAME", "ensure_secret", "read_secret", "seal", "unseal"]

SECRET_NAME = ".iree-wasm-hal-key"
"""A name that nobody else gives a file: a damaged one is replaced."""
_SECRET_BYTE_LENGTH = 32
_MAGIC = b"IWHCODE1"
HEADER_BYTE_LENGTH = len(_MAGIC) + hashlib.sha256().digest_size


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


def seal(
    secret: bytes, name: str, payload: Sequence[bytes | memoryview]
) -> list[bytes | memoryview]:
    """The parts of an entry."""
    return [_MAGIC, _digest(secret, name, payload), *payload]


def unseal(secret: bytes, name: str, sealed: bytes) -> memoryview | None:
    """The payload of an entry; None if it is not what was sealed under that name."""
    view = memoryview(sealed)
    payload = view[HEADER_BYTE_LENGTH:]
    expected = _MAGIC + _digest(secret, name, [payload])
    found = view[:HEADER_BYTE_LENGTH].tobytes()
    return payload if hmac.compare_digest(found, expected) else None


def _digest(secret: bytes, name: str, payload: Sequence[bytes | memoryview]) -> bytes:
    encoded = name.encode()
    mac = hmac.new(secret, _MAGIC + len(encoded).to_bytes(2, "little") + encoded, hashlib.sha256)
    for part in payload:
        mac.update(part)
    return mac.digest()
