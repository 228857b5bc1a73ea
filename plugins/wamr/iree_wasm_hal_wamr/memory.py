"""Linear memories: regions of address space that all instances on them share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iree_wasm_hal.engine import (
    PAGE_SIZE,
    MemoryType,
    check_growth,
    check_memory_limits,
    growth_error,
    memory_error,
)
from iree_wasm_hal.errors import ClosedError, EngineError
from iree_wasm_hal_wamr.c_api import ffi

if TYPE_CHECKING:
    from iree_wasm_hal_wamr.library import Library

_MAX_PAGE_COUNT = 65536
MEMORY64_NOTE = "WAMR's fast interpreter has none; its classic one, which has, has no SIMD"


class WamrMemory:
    """Implements ``iree_wasm_hal.engine.Memory`` on an ``iwh_wamr_region*``.

    Attributes:
        engine_token: Identity of the engine that created it.
    """

    def __init__(
        self, engine_token: object, library: Library, memory_type: MemoryType, pointer: Any
    ) -> None:
        self.engine_token = engine_token
        self._lib = library.lib
        self._type = memory_type
        self._pointer: Any = pointer

    @property
    def type(self) -> MemoryType:
        """The type it was created with."""
        return self._type

    @property
    def page_count(self) -> int:
        """Current size in pages."""
        return int(self._lib.iwh_wamr_region_page_count(self.native()))

    @property
    def growth_waits(self) -> bool:
        """False: calls that run on it go on."""
        return False

    def grow(self, delta_page_count: int) -> None:
        """Grows; calls that run on it go on."""
        pointer = self.native()
        page_count = int(self._lib.iwh_wamr_region_page_count(pointer))
        check_growth(self._type, page_count, delta_page_count)
        if not self._lib.iwh_wamr_region_grow(pointer, delta_page_count):
            reason = "the machine does not give the pages"
            raise growth_error(page_count, delta_page_count, page_count, reason)

    def view(self) -> memoryview:
        """A writable view of the current size that keeps the region alive."""
        region = self.native()

        def keep_alive(_pointer: object, _region: Any = region) -> None:
            """Holds the region for as long as cffi holds this destructor."""

        pointer = ffi.gc(self._lib.iwh_wamr_region_base(region), keep_alive)
        byte_length = int(self._lib.iwh_wamr_region_page_count(region)) * PAGE_SIZE
        return memoryview(ffi.buffer(pointer, byte_length)).cast("B")

    def close(self) -> None:
        """Gives the memory up; views and instances keep what they need."""
        self._pointer = None

    def native(self) -> Any:
        """The ``iwh_wamr_region*``, for this plugin's own use."""
        pointer = self._pointer
        if pointer is None:
            msg = "linear memory is closed"
            raise ClosedError(msg)
        return pointer


def create_memory(engine_token: object, library: Library, memory_type: MemoryType) -> WamrMemory:
    """Creates a memory.

    Raises:
        EngineError: The limits make no valid type, or the index type is not 32 bits wide.
        LimitError: The machine cannot give it.
    """
    if memory_type.index64:
        msg = f"engine 'wamr' lacks memory64, cannot create {memory_type}: {MEMORY64_NOTE}"
        raise EngineError(msg)
    check_memory_limits(memory_type, _MAX_PAGE_COUNT)
    low, high = memory_type.min_page_count, memory_type.max_page_count
    region = library.lib.iwh_wamr_region_create(low, high, memory_type.shared)
    if not region:
        raise memory_error(f"cannot create {memory_type}", low, 0, "the machine does not give it")
    pointer = ffi.gc(region, library.lib.iwh_wamr_region_release)
    return WamrMemory(engine_token, library, memory_type, pointer)
