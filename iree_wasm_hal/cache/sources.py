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
def source_digest(*folders: str) -> bytes:
    """Digest of what there is to know of some of our modules, and of the Python that runs them.

    Path, size and time of the last change of each file: reading them would take a tenth of a load.
    The release's number alone would not tell two states of a checkout apart.

    Args:
        folders: Relative to the package; folders inside them do not count.

    Raises:
        OSError: There are no files, as in a zip archive.
    """
    digest = hashlib.sha256(f"{_PACKAGE} {sys.implementation.cache_tag} {sys.version}".encode())
    for folder in folders:
        with os.scandir(os.path.join(_PACKAGE, folder)) as entries:
            modules = [entry for entry in entries if entry.name.endswith(_SUFFIXES)]
        for module in sorted(modules, key=lambda entry: entry.name):
            status = module.stat()
            line = f"{folder}/{module.name} {status.st_size} {status.st_mtime_ns}\n"
            digest.update(line.encode())
    return digest.digest()
