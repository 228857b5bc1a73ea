"""Linear memories as anonymous mappings: reserved once at their maximum, so the base stays."""

from __future__ import annotations

import mmap

from iree_wasm_hal.engine import (
    PAGE_SIZE,
    MemoryType,
    check_growth,
    check_memory_limits,
    memory_error,
)
from iree_wasm_hal.errors import ClosedError, EngineError

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
        check_memory_limits(memory_type, _MAX_PAGE_COUNT)
        self.owner = owner
        self._type = memory_type
        self._page_count = memory_type.min_page_count
        # The system gives pages when they are first written, so the maximum costs nothing.
        page_count = max(memory_type.max_page_count, 1)
        try:
            self._mapping: mmap.mmap | None = mmap.mmap(-1, page_count * PAGE_SIZE)
        except OSError as error:
            raise memory_error(f"cannot map {memory_type}", page_count, 0, str(error)) from error

    @property
    def type(self) -> MemoryType:
        """The type it was created with."""
        return self._type

    @property
    def page_count(self) -> int:
        """Current size."""
        self.check_open()
        return self._page_count

    @property
    def growth_waits(self) -> bool:
        """False: no code runs here."""
        return False

    def grow(self, delta_page_count: int) -> None:
        """Makes more of the mapping visible."""
        self.check_open()
        check_growth(self._type, self._page_count, delta_page_count)
        self._page_count += delta_page_count

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
