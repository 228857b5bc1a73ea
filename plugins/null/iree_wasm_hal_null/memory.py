"""Linear memories as anonymous mappings: reserved once at their maximum, so the base stays."""

from __future__ import annotations

import mmap

from iree_wasm_hal.engine import PAGE_SIZE, MemoryType
from iree_wasm_hal.errors import ClosedError, EngineError, LimitError

_MAX_PAGE_COUNT = 65536  # of a memory with 32-bit addresses


class NullMemory:
    """Implements ``iree_wasm_hal.engine.Memory``.

    Attributes:
        owner: The engine that made it.
    """

    def __init__(self, owner: object, memory_type: MemoryType) -> None:
        if memory_type.shared or memory_type.index64:
            msg = f"engine 'null' has no shared and no 64-bit memories; asked for {memory_type}"
            raise EngineError(msg)
        if not 0 <= memory_type.min_page_count <= memory_type.max_page_count <= _MAX_PAGE_COUNT:
            msg = f"{memory_type} is no valid memory type: expected 0 <= min <= max <= 65536 pages"
            raise EngineError(msg)
        self.owner = owner
        self._type = memory_type
        self._page_count = memory_type.min_page_count
        # The system gives pages when they are first written, so the maximum costs nothing.
        byte_length = max(memory_type.max_page_count, 1) * PAGE_SIZE
        try:
            self._mapping: mmap.mmap | None = mmap.mmap(-1, byte_length)
        except OSError as error:
            msg = f"linear memory: the system refuses to map {byte_length} bytes: {error}"
            raise LimitError(msg, name="linear memory", asked=byte_length, allowed=0) from error

    @property
    def type(self) -> MemoryType:
        """The type it was created with."""
        return self._type

    @property
    def page_count(self) -> int:
        """Current size."""
        self.check_open()
        return self._page_count

    def grow(self, delta_page_count: int) -> None:
        """Makes more of the mapping visible."""
        self.check_open()
        if delta_page_count < 0:
            msg = f"linear memory cannot grow by {delta_page_count} pages; expected 0 or more"
            raise EngineError(msg)
        asked = self._page_count + delta_page_count
        if asked > self._type.max_page_count:
            msg = (
                f"linear memory of {self._page_count} pages cannot grow to {asked}: "
                f"its maximum is {self._type.max_page_count}"
            )
            allowed = self._type.max_page_count * PAGE_SIZE
            raise LimitError(msg, name="linear memory", asked=asked * PAGE_SIZE, allowed=allowed)
        self._page_count = asked

    def view(self) -> memoryview:
        """A writable view of the current size; it keeps the mapping alive."""
        return memoryview(self.check_open())[: self._page_count * PAGE_SIZE]

    def close(self) -> None:
        """Gives the mapping up; it goes with the last view."""
        self._mapping = None

    def check_open(self) -> mmap.mmap:
        """The mapping, for this plugin's own use."""
        if self._mapping is None:
            msg = "linear memory is closed"
            raise ClosedError(msg)
        return self._mapping
