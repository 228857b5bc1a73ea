"""``iree-wasm cache``: what the user's cache of compiled code holds, and emptying it."""

from __future__ import annotations

import dataclasses
import datetime
from typing import TYPE_CHECKING

from iree_wasm_hal.cache.settings import OFF_VARIABLE, is_switched_off, user_cache
from iree_wasm_hal.cli.reporting import ExitStatus, print_json

if TYPE_CHECKING:
    from iree_wasm_hal.cache.code_cache import CacheInfo

__all__ = ["clear", "info"]


def info(*, as_json: bool) -> int:
    """Prints where the cache is, what is in it, and why it is off where it is."""
    found = user_cache().info()
    cause = f"{OFF_VARIABLE} is set" if is_switched_off() else found.cause
    if as_json:
        print_json({**dataclasses.asdict(found), "enabled": cause is None, "cause": cause})
    else:
        print("\n".join(_lines(found, cause)))
    return ExitStatus.DONE


def clear(*, as_json: bool) -> int:
    """Removes all entries.

    Raises:
        OSError: The folder is somebody else's, or a file cannot be removed.
    """
    cache = user_cache()
    count, byte_length = cache.clear()
    if as_json:
        print_json(
            {"folder": str(cache.folder), "removed_files": count, "removed_bytes": byte_length}
        )
    else:
        print(f"removed {count} files, {_size(byte_length)}, from {cache.folder}")
    return ExitStatus.DONE


def _lines(found: CacheInfo, cause: str | None) -> list[str]:
    entries = ", ".join(f"{count} {kind}" for kind, count in found.entries.items()) or "none"
    lines = [
        f"folder:  {found.folder}",
        f"state:   {'on' if cause is None else f'off: {cause}'}",
        f"entries: {entries}",
        f"size:    {_size(found.byte_length)} of at most {_size(found.max_byte_length)}",
    ]
    if found.oldest_use_s is not None:
        oldest = datetime.datetime.fromtimestamp(found.oldest_use_s).astimezone()
        lines.append(f"oldest:  used last on {oldest:%Y-%m-%d at %H:%M}")
    return lines


def _size(byte_length: int) -> str:
    if byte_length < 1 << 20:
        return f"{byte_length / 1024:.1f} KiB"
    return f"{byte_length / (1 << 20):.1f} MiB"
