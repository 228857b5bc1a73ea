"""Which cache is used where the caller does not name one: environment, then the user's folder."""

from __future__ import annotations

import logging
import os
from functools import lru_cache
from typing import TYPE_CHECKING

import platformdirs

from iree_wasm_hal.cache.code_cache import DEFAULT_MAX_BYTES, CodeCache
from iree_wasm_hal.errors import ArgumentError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FOLDER_VARIABLE", "MAX_BYTES_VARIABLE", "OFF_VARIABLE", "choose_cache", "user_cache"]

FOLDER_VARIABLE = "IREE_WASM_HAL_CACHE_DIR"
OFF_VARIABLE = "IREE_WASM_HAL_NO_CACHE"
MAX_BYTES_VARIABLE = "IREE_WASM_HAL_CACHE_MAX_BYTES"


def choose_cache(asked: bool | CodeCache) -> CodeCache | None:
    """The cache that an option ``cache`` means.

    Args:
        asked: True for the user's, unless the environment switches it off; False for none.

    Raises:
        ArgumentError: It is something else.
    """
    if isinstance(asked, CodeCache):
        return asked
    if not isinstance(asked, bool):
        raise ArgumentError(f"cache is {asked!r}; expected True, False or a CodeCache")
    return user_cache() if asked and not is_switched_off() else None


def is_switched_off() -> bool:
    """Whether the environment says so."""
    return os.environ.get(OFF_VARIABLE, "0") not in {"", "0"}


def user_cache() -> CodeCache:
    """The cache of this user, used or not."""
    folder = _folder(os.environ.get(FOLDER_VARIABLE, ""))
    return CodeCache(folder, max_bytes=_max_bytes(os.environ.get(MAX_BYTES_VARIABLE, "")))


@lru_cache(maxsize=8)  # so that a relative one stays where it is when the process goes elsewhere
def _folder(text: str) -> str | Path:
    if not text:
        return _user_folder()
    try:
        # Shells expand it in VARIABLE=~/x, but service files and .env files do not.
        return os.path.abspath(os.path.expanduser(text))
    except FileNotFoundError:  # it is relative, and the current directory is gone
        return _user_folder()


@lru_cache(maxsize=1)
def _user_folder() -> Path:
    return platformdirs.user_cache_path("iree-wasm-hal", appauthor=False)


@lru_cache(maxsize=1)  # so that a bad value is told once
def _max_bytes(text: str) -> int:
    if not text:
        return DEFAULT_MAX_BYTES
    if text.isascii() and text.isdigit():
        return int(text)
    logging.getLogger("iree_wasm_hal.cache").warning(
        "environment variable %s is %r; expected a number of bytes. It is %d now",
        MAX_BYTES_VARIABLE,
        text,
        DEFAULT_MAX_BYTES,
    )
    return DEFAULT_MAX_BYTES
