"""Identity of our own code: what one version of it derived is of no use to another."""

from __future__ import annotations

import hashlib
import os
import sys
from functools import lru_cache

__all__ = ["source_digest"]

_PACKAGE = os.path.dirname(os.path.dirname(__file__))
_SUFFIXES = (".py", ".pyc")


@lru_cache(maxsize=8)
def source_digest(*paths: str) -> bytes:
    """Digest of some of our modules, and of the Python that runs them.

    The release's number alone would not tell two states of a checkout apart.

    Args:
        paths: Modules (``.py``), or folders without what is in folders inside them; relative to
            the package.

    Raises:
        OSError: There are no files to read, as in a zip archive.
    """
    digest = hashlib.sha256(f"{sys.implementation.cache_tag} {sys.version}".encode())
    for path in paths:
        for name in [path] if path.endswith(_SUFFIXES) else _modules(path):
            with open(os.path.join(_PACKAGE, name), "rb", buffering=0) as file:
                contents = file.readall()
            digest.update(f"{name} {len(contents)} ".encode())
            digest.update(contents)
    return digest.digest()


def _modules(folder: str) -> list[str]:
    with os.scandir(os.path.join(_PACKAGE, folder)) as entries:
        return sorted(
            f"{folder}/{entry.name}" for entry in entries if entry.name.endswith(_SUFFIXES)
        )
