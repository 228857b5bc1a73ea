"""Identity of our own code: what one version of it derived is of no use to another."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from functools import lru_cache

__all__ = ["code_identity"]

_PACKAGE = os.path.dirname(os.path.dirname(__file__))
_FOLDERS = ("cache", "engine", "vm", "wasm")
"""Our code on which entries depend; folders inside these do not count."""


def _digest() -> bytes | OSError:
    digest = hashlib.sha256(f"{sys.implementation.cache_tag} {sys.version}".encode())
    try:
        for folder in _FOLDERS:
            path = os.path.join(_PACKAGE, folder)
            for name in sorted(os.listdir(path)):
                if name.endswith((".py", ".pyc")):
                    with open(os.path.join(path, name), "rb", buffering=0) as file:
                        contents = file.readall()
                    digest.update(f"{folder}/{name} {len(contents)}\n".encode())
                    digest.update(contents)
    except OSError as error:
        return error
    return digest.digest()


# Of the contents, since builds that can be reproduced give all files one time. And now, at import:
# what a process derives belongs to the code that it has loaded, whatever replaces that later.
_IDENTITY = _digest()


def code_identity() -> bytes | None:
    """Digest of our modules and of the Python that runs them.

    None where there are no files to read, as in a zip archive: nothing can be kept there, which
    is told once.
    """
    if isinstance(_IDENTITY, bytes):
        return _IDENTITY
    _tell(str(_IDENTITY))
    return None


@lru_cache(maxsize=1)
def _tell(cause: str) -> None:
    logging.getLogger("iree_wasm_hal.cache").warning(
        "the cache of compiled code is not used: this package is in no folder (%s). Programs are"
        " compiled anew",
        cause,
    )
