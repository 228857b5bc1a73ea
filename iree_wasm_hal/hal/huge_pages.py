"""Huge pages for large blocks of linear memory, where the system gives them on request.

A page of 4 KB costs a fault when it is touched first and an entry of the TLB ever after. Huge ones
are asked for inside of large blocks only, which are used as a whole: elsewhere they would make
memory resident that nobody needs.
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

__all__ = ["LARGE_BYTE_LENGTH", "advise_huge_pages"]

_HUGE_PAGE = 2 << 20
LARGE_BYTE_LENGTH = _HUGE_PAGE
"""Smaller blocks can hold no huge page."""


def advise_huge_pages(block: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    """Asks for them wherever one lies in the block as a whole; nothing happens if there are none.

    Args:
        block: Contiguous bytes of a linear memory.
    """
    advise = _find_madvise()
    if advise is None:
        return
    start = block.__array_interface__["data"][0]
    first = -(-start // _HUGE_PAGE) * _HUGE_PAGE
    end = (start + block.nbytes) // _HUGE_PAGE * _HUGE_PAGE
    if first < end:
        advise(first, end - first, mmap.MADV_HUGEPAGE)


@lru_cache(maxsize=1)
def _find_madvise() -> Callable[[int, int, int], int] | None:
    if sys.platform != "linux" or not hasattr(mmap, "MADV_HUGEPAGE"):
        return None
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return madvise
