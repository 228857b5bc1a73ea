"""The linear memory of one device, with its current zero-copy views."""

from __future__ import annotations

import contextlib
import gc

import numpy as np

from iree_wasm_hal.engine.contract import PAGE_SIZE, Engine, Memory, MemoryType
from iree_wasm_hal.errors import LimitError

__all__ = ["GuestArray", "GuestMemory"]


class GuestArray(np.ndarray[tuple[int, ...], np.dtype[np.uint8]]):
    """Bytes of the linear memory, as the base object that keeps an allocation alive.

    numpy shortens a chain of bases only while they have the new array's own type, so a plain
    ndarray made from one of these keeps it, and thereby ``block``, until it dies.
    """

    block: object = None

    def __array_finalize__(self, source: object) -> None:
        # A slice of this array has the root array as its base: it must hold the block itself.
        self.block = getattr(source, "block", None)


class GuestMemory:
    """A growable linear memory and views on its current size.

    The base address never changes, so views taken before a growth stay right for the bytes they
    cover. Thread-safe except ``grow`` and ``close``, which the caller serialises.
    """

    __slots__ = ("array", "byte_length", "limit", "memory", "type", "view")

    def __init__(self, engine: Engine, memory_type: MemoryType) -> None:
        self.type = memory_type
        self.memory = _create(engine, memory_type)
        self.limit = memory_type.max_page_count * PAGE_SIZE
        self._refresh()

    def _refresh(self) -> None:
        view = self.memory.view()
        self.view = view
        self.byte_length = len(view)
        self.array = np.ndarray.__new__(GuestArray, (len(view),), np.uint8, view)

    def grow_to(self, byte_length: int) -> None:
        """Grows the memory to at least ``byte_length`` bytes, by half its size where it can.

        Raises:
            LimitError: The maximum or the machine does not allow it.
        """
        page_count = self.byte_length // PAGE_SIZE
        needed = -(-byte_length // PAGE_SIZE)
        if needed <= page_count:
            return
        maximum = self.type.max_page_count
        if needed > maximum:
            raise LimitError(
                f"linear memory of {byte_length} bytes asked for; the limit is {self.limit}",
                name="linear memory",
                asked=byte_length,
                allowed=self.limit,
            )
        # Reserved address space costs nothing until it is touched, growing often does.
        wanted = min(maximum, max(needed, page_count + page_count // 2))
        try:
            self.memory.grow(wanted - page_count)
        except LimitError:
            if wanted == needed:
                raise
            self.memory.grow(needed - page_count)
        self._refresh()

    def close(self) -> None:
        """Gives the memory up; views that callers hold stay valid."""
        self.memory.close()


def _create(engine: Engine, memory_type: MemoryType) -> Memory:
    """Creates a memory, if need be in the place of those that nobody uses any more.

    A program that was dropped without ``close`` is cyclic garbage. Python collects that by the
    number of its objects, and does not see the address space that it holds.
    """
    with contextlib.suppress(LimitError):
        return engine.create_memory(memory_type)
    gc.collect()
    return engine.create_memory(memory_type)
