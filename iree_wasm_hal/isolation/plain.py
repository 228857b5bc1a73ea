"""Plain data as bytes, in a form whose reading can do nothing but fail.

JSON, not pickle: pickle's machine can be made to reserve any memory, and to build tuples nested so
deeply that their hash ends the process. Numbers, strings, None, lists and dicts cross; bytes are
strings in a dict of one entry, and a tuple arrives as a list.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from iree_wasm_hal.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LONGEST_BODY", "PLAIN", "pack_plain", "reading", "unpack_plain"]

PLAIN = frozenset({type(None), bool, int, float, str, bytes})
"""Types of single values."""
LONGEST_BODY = 8 << 20
"""Bytes of a message of plain data: parsed, each may take twenty."""
_BYTES = "\0bytes"
_MISTAKES = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def pack_plain(values: object) -> bytes:
    """The body of a message of plain data."""
    return _ENCODER.encode(values).encode()


def unpack_plain(body: bytes) -> Any:
    """What ``pack_plain`` was given.

    Raises:
        InternalError: It is anything but plain data.
    """
    with reading("a message"):
        return _DECODER.decode(body.decode())


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
    """The body takes apart what a child process sent, which need not be what it should.

    Args:
        what: It takes apart.

    Raises:
        InternalError: It is something else.
    """
    try:
        yield
    except _MISTAKES as error:
        raise InternalError(
            f"the child process sent {what} that cannot be read: {str(error)[:200]}"
        ) from error


def _bytes_to_dict(value: object) -> dict[str, str]:
    if isinstance(value, bytes):
        return {_BYTES: value.decode("latin-1")}
    raise TypeError(f"a {type(value).__name__} is no plain data")


def _dict_to_bytes(members: dict[str, Any]) -> Any:
    return members[_BYTES].encode("latin-1") if members.keys() == {_BYTES} else members


# Made once: json.dumps and json.loads make new ones for each message.
_ENCODER = json.JSONEncoder(default=_bytes_to_dict, separators=(",", ":"))
_DECODER = json.JSONDecoder(object_hook=_dict_to_bytes)
