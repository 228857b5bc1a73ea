"""Linear memories: regions of address space that all instances on them share."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Any

from iree_wasm_hal.engine import (
    PAGE_SIZE,
    MemoryType,
    check_growth,
    check_memory_limits,
    growth_error,
)
from iree_wasm_hal.errors import ClosedError, LimitError
from iree_wasm_hal_wamr_aot.c_api import ffi

if TYPE_CHECKING:
    from iree_wasm_hal_wamr_aot.library import Library

_MAX_PAGE_COUNT = 65536
_MAX_PAGE_COUNT_INDEX64 = 2**48
_MAX_NATIVE_PAGE_COUNT = 2**32 - 1  # the C interface's


class WamrAotMemory:
    """Implements ``iree_wasm_hal.engine.Memory`` on an ``iwh_wamr_aot_region*``.

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
        return int(self._lib.iwh_wamr_aot_region_page_count(self.native()))

    @property
    def growth_waits(self) -> bool:
        """False: calls that run on it go on."""
        return False

    def grow(self, delta_page_count: int) -> None:
        """Grows; calls that run on it go on."""
        pointer = self.native()
        page_count = int(self._lib.iwh_wamr_aot_region_page_count(pointer))
        check_growth(self._type, page_count, delta_page_count)
        if not self._lib.iwh_wamr_aot_region_grow(pointer, delta_page_count):
            reason = "the machine does not give the pages"
            raise growth_error(page_count, delta_page_count, page_count, reason)

    def view(self) -> memoryview:
        """A writable view of the current size that keeps the region alive."""
        region = self.native()

        def keep_alive(_pointer: object, _region: Any = region) -> None:
            """Holds the region for as long as cffi holds this destructor."""

        pointer = ffi.gc(self._lib.iwh_wamr_aot_region_base(region), keep_alive)
        byte_length = int(self._lib.iwh_wamr_aot_region_page_count(region)) * PAGE_SIZE
        return memoryview(ffi.buffer(pointer, byte_length)).cast("B")

    def close(self) -> None:
        """Gives the memory up; views and instances keep what they need."""
        self._pointer = None

    def native(self) -> Any:
        """The ``iwh_wamr_aot_region*``, for this plugin's own use."""
        pointer = self._pointer
        if pointer is None:
            msg = "linear memory is closed"
            raise ClosedError(msg)
        return pointer


def create_memory(
    engine_token: object, library: Library, memory_type: MemoryType, *, guarded: bool
) -> WamrAotMemory:
    """Creates a memory.

    Args:
        engine_token: Identity of the engine.
        library: The runtime library.
        memory_type: Its type.
        guarded: Whether programs leave bounds checks to guard pages.

    Raises:
        EngineError: The limits make no valid type.
        LimitError: The machine cannot give it; says how much address space was asked for.
    """
    index64 = memory_type.index64
    check_memory_limits(memory_type, _MAX_PAGE_COUNT_INDEX64 if index64 else _MAX_PAGE_COUNT)
    guarded = guarded and not index64
    low, high = memory_type.min_page_count, memory_type.max_page_count
    region = None
    if high <= _MAX_NATIVE_PAGE_COUNT:
        create = library.lib.iwh_wamr_aot_region_create
        region = create(low, high, memory_type.shared, index64, guarded)
    if not region:
        raise _reservation_error(library, memory_type, guarded=guarded)
    pointer = ffi.gc(region, library.lib.iwh_wamr_aot_region_release)
    return WamrAotMemory(engine_token, library, memory_type, pointer)


def _reservation_error(library: Library, memory_type: MemoryType, *, guarded: bool) -> LimitError:
    reserved = library.lib.iwh_wamr_aot_region_reserved_byte_length
    unguarded = memory_type.max_page_count * PAGE_SIZE
    asked = int(reserved(memory_type.max_page_count, guarded)) if guarded else unguarded
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    unlimited = limit == resource.RLIM_INFINITY
    given = "the machine does not give it" if unlimited else f"allowed are {limit} (ulimit -v)"
    advice = (
        f"The engine's option bounds_checks='explicit' asks for {unguarded} instead"
        if guarded
        else "A smaller maximum (load(..., max_memory_bytes=...)) asks for less"
    )
    msg = (
        f"cannot create {memory_type}: asked for {asked} bytes of address space, {given}. {advice}"
    )
    return LimitError(msg, name="address space", asked=asked, allowed=0 if unlimited else limit)
