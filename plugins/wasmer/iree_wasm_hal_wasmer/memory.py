"""Linear memories."""

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
from iree_wasm_hal_wasmer.c_api import FAILURE_LIMIT, ffi
from iree_wasm_hal_wasmer.failures import general_error, take_failure

if TYPE_CHECKING:
    from iree_wasm_hal_wasmer.library import Library

MAX_PAGE_COUNT = 65536
NO_MEMORY64 = "Wasmer's compilers implement no 64-bit memories"


class WasmerMemory:
    """Implements ``iree_wasm_hal.engine.Memory``: any number of instances, no lock between them.

    Attributes:
        engine_pointer: The ``iwh_wasmer_engine_t*`` of the engine that created it.
    """

    def __init__(
        self, library: Library, engine_pointer: Any, memory_type: MemoryType, pointer: Any
    ) -> None:
        self.engine_pointer = engine_pointer
        self._lib = lib = library.lib
        self._type = memory_type
        self._pointer: Any = ffi.gc(pointer, lib.iwh_wasmer_memory_delete)
        self._base = lib.iwh_wasmer_memory_base(pointer)

    @property
    def type(self) -> MemoryType:
        """The type it was created with."""
        return self._type

    @property
    def page_count(self) -> int:
        """Current size in pages."""
        return int(self._lib.iwh_wasmer_memory_page_count(self.native()))

    @property
    def growth_waits(self) -> bool:
        """False: calls that run on it go on."""
        return False

    def grow(self, delta_page_count: int) -> None:
        """Grows; waits for nobody."""
        pointer = self.native()
        page_count = self._lib.iwh_wasmer_memory_page_count(pointer)
        check_growth(self._type, page_count, delta_page_count)
        failure = self._lib.iwh_wasmer_memory_grow(pointer, delta_page_count)
        if failure:
            reason = take_failure(self._lib, failure).message
            raise growth_error(page_count, delta_page_count, page_count, reason)

    def view(self) -> memoryview:
        """A writable view of the current size that keeps the native memory alive."""
        native = self.native()

        def keep_alive(_pointer: object, _native: Any = native) -> None:
            """Holds the native memory for as long as cffi holds this destructor."""

        pointer = ffi.gc(self._base, keep_alive)
        byte_length = self._lib.iwh_wasmer_memory_page_count(native) * PAGE_SIZE
        return memoryview(ffi.buffer(pointer, byte_length)).cast("B")

    def close(self) -> None:
        """Gives the memory up; views and instances keep what they need."""
        self._pointer = None

    def native(self) -> Any:
        """The ``iwh_wasmer_memory_t*``, for this plugin's own use."""
        pointer = self._pointer
        if pointer is None:
            msg = "linear memory is closed"
            raise ClosedError(msg)
        return pointer


def create_memory(library: Library, engine_pointer: Any, memory_type: MemoryType) -> WasmerMemory:
    """Creates a memory.

    Raises:
        EngineError: The limits make no valid type, or it is a 64-bit memory.
        LimitError: The machine cannot give it.
    """
    if memory_type.index64:
        msg = f"cannot create {memory_type}: {NO_MEMORY64}"
        raise EngineError(msg)
    check_memory_limits(memory_type, MAX_PAGE_COUNT)
    low, high = memory_type.min_page_count, memory_type.max_page_count
    result = ffi.new("iwh_wasmer_memory_t **")
    failure_pointer = library.lib.iwh_wasmer_memory_new(low, high, memory_type.shared, result)
    if failure_pointer:
        failure = take_failure(library.lib, failure_pointer)
        what = f"cannot create {memory_type}"
        if failure.kind == FAILURE_LIMIT:
            raise memory_error(what, low, 0, failure.message)
        raise general_error(what, failure)
    return WasmerMemory(library, engine_pointer, memory_type, result[0])
