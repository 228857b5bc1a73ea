"""Huge pages for large blocks of linear memory, where the system gives them on request.

A page of 4 KB costs a fault when it is touched first and an entry of the TLB ever after. Huge ones
are asked for where large blocks lie, which are used as a whole: elsewhere they would make memory
resident that nobody needs. The first and the last one of a block reach beyond it, to what lies
there or will: that is less than two of them per block.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    Bytes = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]

__all__ = ["LARGE_BYTE_LENGTH", "advise_huge_pages", "huge_page_end"]

_HUGE_PAGE = 2 << 20
LARGE_BYTE_LENGTH = _HUGE_PAGE
"""Smaller blocks can hold no huge page."""


def advise_huge_pages(memory: Bytes, start: int, end: int) -> None:
    """Asks for them wherever a range lies, as far as the memory holds them as a whole.

    Args:
        memory: All of a linear memory.
        start: First byte of the range.
        end: Byte behind its last.
    """
    advise = _find_madvise()
    if advise is None:
        return
    base = _address(memory)
    first = max((base + start) // _HUGE_PAGE, -(-base // _HUGE_PAGE)) * _HUGE_PAGE
    last = min(-(-(base + end) // _HUGE_PAGE), (base + memory.nbytes) // _HUGE_PAGE) * _HUGE_PAGE
    if first < last:
        advise(first, last - first, mmap.MADV_HUGEPAGE)


def huge_page_end(memory: Bytes, end: int) -> int:
    """Where the huge page ends that holds the last byte before ``end``, which may lie beyond."""
    base = _address(memory)
    return -(-(base + end) // _HUGE_PAGE) * _HUGE_PAGE - base


def _address(memory: Bytes) -> int:
    address: int = memory.__array_interface__["data"][0]
    return address


@lru_cache(maxsize=1)
def _find_madvise() -> Callable[[int, int, int], int] | None:
    if sys.platform != "linux" or not hasattr(mmap, "MADV_HUGEPAGE"):
        return None
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return madvise
