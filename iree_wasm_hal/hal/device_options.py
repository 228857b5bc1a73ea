"""What a device is created with, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.engine.contract import (
    LOW_MEMORY_BYTE_LENGTH,
    PAGE_SIZE,
    Feature,
    MemoryType,
)
from iree_wasm_hal.errors import ArgumentError, EngineError
from iree_wasm_hal.hal.compatibility import able_engines
from iree_wasm_hal.hal.worker import STACK_BYTE_LENGTH

if TYPE_CHECKING:
    from iree_wasm_hal.engine.contract import EngineInfo

__all__ = ["DEFAULT_MAX_MEMORY_BYTES", "check_threads", "matches_pattern", "memory_type"]

DEFAULT_MAX_MEMORY_BYTES = (1 << 32) - PAGE_SIZE
"""4 GiB less a page: the most that 32-bit byte lengths can express."""

_INITIAL_BYTE_LENGTH = LOW_MEMORY_BYTE_LENGTH + STACK_BYTE_LENGTH + (1 << 20)


def check_threads(info: EngineInfo, threads: int) -> None:
    """Checks that an engine can run several workers.

    Raises:
        ArgumentError: ``threads`` is less than 1.
        EngineError: The engine lacks threads, and ``threads`` is more than 1.
    """
    if not isinstance(threads, int) or threads < 1:
        raise ArgumentError(f"threads is {threads!r}; expected a whole number, 1 or more")
    if threads == 1:
        return
    needed = (Feature.THREADS, Feature.SHARED_MEMORY, Feature.ATOMICS)
    missing = [feature for feature in needed if feature not in info.features]
    if missing:
        names = ", ".join(feature.value for feature in missing)
        notes = [info.notes[feature] for feature in missing if feature in info.notes]
        reasons = "; ".join(dict.fromkeys(notes))  # one often serves several
        raise EngineError(
            f"threads is {threads}, but {info.name} {info.version} lacks {names}"
            f"{f' ({reasons})' if reasons else ''}. Use one thread (load_pool serves "
            "parallel requests with one thread each), or one of the engines that have what it "
            f"takes: {able_engines(needed)}"
        )


def matches_pattern(pattern: str, text: str) -> bool:
    """Whether ``pattern`` with ``*`` and ``?`` matches all of ``text``."""
    # Not by a regular expression: to compile one takes longer than all queries of a load.
    at = position = 0
    star, resume = -1, 0
    while position < len(text):
        wanted = pattern[at : at + 1]
        if wanted == "*":
            star, resume = at, position
            at += 1
        elif wanted in ("?", text[position]):
            at, position = at + 1, position + 1
        elif star >= 0:  # the last star takes one more
            resume += 1
            at, position = star + 1, resume
        else:
            return False
    return not pattern[at:].strip("*")


def memory_type(max_memory_bytes: int, *, memory64: bool, shared: bool) -> MemoryType:
    """The type of a device's memory; its first size holds a worker and a little more.

    Raises:
        ArgumentError: ``max_memory_bytes`` is too small, or more than addresses reach.
    """
    max_page_count = max_memory_bytes // PAGE_SIZE
    min_page_count = _INITIAL_BYTE_LENGTH // PAGE_SIZE
    if max_page_count < min_page_count:
        raise ArgumentError(
            f"max_memory_bytes is {max_memory_bytes}; expected at least {_INITIAL_BYTE_LENGTH}"
        )
    if not memory64 and max_memory_bytes > DEFAULT_MAX_MEMORY_BYTES:
        raise ArgumentError(
            f"max_memory_bytes is {max_memory_bytes}; 32-bit addresses reach "
            f"{DEFAULT_MAX_MEMORY_BYTES} (memory64 reaches more)"
        )
    return MemoryType(min_page_count, max_page_count, shared=shared, index64=memory64)
