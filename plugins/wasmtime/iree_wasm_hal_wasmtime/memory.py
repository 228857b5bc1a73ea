"""Linear memories: unshared ones live in a store of their own, shared ones by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from iree_wasm_hal.engine import (
    PAGE_SIZE,
    MemoryType,
    check_growth,
    check_memory_limits,
    growth_error,
    memory_error,
)
from iree_wasm_hal.errors import ClosedError, EngineError, InternalError
from iree_wasm_hal_wasmtime.c_api import EXTERN_MEMORY, EXTERN_SHAREDMEMORY, ffi
from iree_wasm_hal_wasmtime.messages import take_error_message
from iree_wasm_hal_wasmtime.store import Store

if TYPE_CHECKING:
    from iree_wasm_hal_wasmtime.library import Library

PAGE_SIZE_LOG2 = 16
_MAX_PAGE_COUNT_INDEX32 = 65536


class _CreationError(Exception):
    """wasmtime could not create a memory; carries its words."""


class NativeMemory(Protocol):
    """What both kinds of native memory can do. The base address never changes."""

    base: Any

    def page_count(self) -> int:
        """Current size."""
        ...

    def grow(self, delta_page_count: int) -> str | None:
        """Grows; the engine's words if it could not."""
        ...

    def store_for_instance(self) -> Store:
        """The store that an instance on this memory must live in."""
        ...

    def fill_extern(self, extern: Any) -> None:
        """Writes the import for ``wasmtime_instance_new``."""
        ...


class UnsharedMemory:
    """A ``wasmtime_memory_t`` and the store it lives in."""

    def __init__(self, library: Library, engine_pointer: Any, type_pointer: Any) -> None:
        self._lib = library.lib
        self._store = Store(library, engine_pointer)
        self._memory = ffi.new("wasmtime_memory_t *")
        error = self._lib.wasmtime_memory_new(self._store.context, type_pointer, self._memory)
        if error:
            raise _CreationError(take_error_message(self._lib, error))
        self.base = self._lib.wasmtime_memory_data(self._store.context, self._memory)
        self._page_count = self._read_page_count()

    def page_count(self) -> int:
        """Current size; during a call, the size before it (kernels do not grow memories)."""
        if self._store.lock.acquire(blocking=False):
            try:
                self._page_count = self._read_page_count()
            finally:
                self._store.lock.release()
        return self._page_count

    def grow(self, delta_page_count: int) -> str | None:
        """Grows; the engine's words if it could not."""
        previous = ffi.new("uint64_t *")
        with self._store.lock:
            context = self._store.context
            error = self._lib.wasmtime_memory_grow(
                context, self._memory, delta_page_count, previous
            )
            if error:
                return take_error_message(self._lib, error)
            base = self._lib.wasmtime_memory_data(context, self._memory)
            self._page_count = self._read_page_count()
        _check_base(self.base, base)
        return None

    def store_for_instance(self) -> Store:
        """The memory's own store."""
        return self._store

    def fill_extern(self, extern: Any) -> None:
        """Writes the import."""
        extern.kind = EXTERN_MEMORY
        extern.of.memory = self._memory[0]

    def _read_page_count(self) -> int:
        return int(self._lib.wasmtime_memory_size(self._store.context, self._memory))


class SharedMemory:
    """A ``wasmtime_sharedmemory_t*``; each instance on it gets a store of its own."""

    def __init__(self, library: Library, engine_pointer: Any, type_pointer: Any) -> None:
        self._library = library
        self._lib = lib = library.lib
        self._engine_pointer = engine_pointer
        result = ffi.new("wasmtime_sharedmemory_t **")
        error = lib.wasmtime_sharedmemory_new(engine_pointer, type_pointer, result)
        if error:
            raise _CreationError(take_error_message(lib, error))
        self._pointer = ffi.gc(result[0], lib.wasmtime_sharedmemory_delete)
        self.base = lib.wasmtime_sharedmemory_data(self._pointer)

    def page_count(self) -> int:
        """Current size."""
        return int(self._lib.wasmtime_sharedmemory_size(self._pointer))

    def grow(self, delta_page_count: int) -> str | None:
        """Grows; the engine's words if it could not."""
        previous = ffi.new("uint64_t *")
        error = self._lib.wasmtime_sharedmemory_grow(self._pointer, delta_page_count, previous)
        if error:
            return take_error_message(self._lib, error)
        _check_base(self.base, self._lib.wasmtime_sharedmemory_data(self._pointer))
        return None

    def store_for_instance(self) -> Store:
        """A new store."""
        return Store(self._library, self._engine_pointer)

    def fill_extern(self, extern: Any) -> None:
        """Writes the import."""
        extern.kind = EXTERN_SHAREDMEMORY
        extern.of.sharedmemory = self._pointer


class WasmtimeMemory:
    """Implements ``iree_wasm_hal.engine.Memory``.

    Attributes:
        engine_pointer: The ``wasm_engine_t*`` that created it.
    """

    def __init__(
        self,
        engine_pointer: Any,
        memory_type: MemoryType,
        native: NativeMemory,
        reservation_byte_length: int,
    ) -> None:
        self.engine_pointer = engine_pointer
        self._type = memory_type
        self._reservation_byte_length = reservation_byte_length
        self._native: NativeMemory | None = native

    @property
    def type(self) -> MemoryType:
        """The type it was created with."""
        return self._type

    @property
    def page_count(self) -> int:
        """Current size in pages."""
        return self.native().page_count()

    def grow(self, delta_page_count: int) -> None:
        """Grows; waits for a call that runs on an unshared memory."""
        native = self.native()
        page_count = native.page_count()
        check_growth(self._type, page_count, delta_page_count)
        reason = native.grow(delta_page_count)
        if reason is not None:
            allowed = self._type.max_page_count
            if (page_count + delta_page_count) * PAGE_SIZE > self._reservation_byte_length:
                allowed = self._reservation_byte_length // PAGE_SIZE
                reason += "; open the engine with a larger memory_reservation_byte_length"
            raise growth_error(page_count, delta_page_count, allowed, reason)

    def view(self) -> memoryview:
        """A writable view of the current size that keeps the native memory alive."""
        native = self.native()

        def keep_alive(_pointer: object, _native: NativeMemory = native) -> None:
            """Holds the native memory for as long as cffi holds this destructor."""

        pointer = ffi.gc(ffi.cast("uint8_t *", native.base), keep_alive)
        return memoryview(ffi.buffer(pointer, native.page_count() * PAGE_SIZE)).cast("B")

    def close(self) -> None:
        """Gives the memory up; views and instances keep what they need."""
        self._native = None

    def native(self) -> NativeMemory:
        """The native memory, for this plugin's own use."""
        native = self._native
        if native is None:
            msg = "linear memory is closed"
            raise ClosedError(msg)
        return native


def create_memory(
    library: Library,
    engine_pointer: Any,
    memory_type: MemoryType,
    reservation_byte_length: int,
) -> WasmtimeMemory:
    """Creates a memory.

    Args:
        library: The C library.
        engine_pointer: The ``wasm_engine_t*``.
        memory_type: What to create.
        reservation_byte_length: The engine's reservation per memory, for the error of a growth
            beyond it.

    Raises:
        EngineError: The limits make no valid type.
        LimitError: wasmtime or the machine cannot give it.
    """
    check_memory_limits(memory_type, 2**48 if memory_type.index64 else _MAX_PAGE_COUNT_INDEX32)
    type_pointer = _new_type_pointer(library.lib, memory_type)
    kind = SharedMemory if memory_type.shared else UnsharedMemory
    try:
        native: NativeMemory = kind(library, engine_pointer, type_pointer)
    except _CreationError as error:
        asked = memory_type.min_page_count
        raise memory_error(f"cannot create {memory_type}", asked, 0, str(error)) from error
    return WasmtimeMemory(engine_pointer, memory_type, native, reservation_byte_length)


def _new_type_pointer(lib: Any, memory_type: MemoryType) -> Any:
    result = ffi.new("wasm_memorytype_t **")
    error = lib.wasmtime_memorytype_new(
        memory_type.min_page_count,
        True,
        memory_type.max_page_count,
        memory_type.index64,
        memory_type.shared,
        PAGE_SIZE_LOG2,
        result,
    )
    if error:
        msg = f"{memory_type} is no valid memory type: {take_error_message(lib, error)}"
        raise EngineError(msg)
    return ffi.gc(result[0], lib.wasm_memorytype_delete)


def _check_base(before: Any, after: Any) -> None:
    if before != after:
        msg = f"linear memory moved from {before} to {after} although memory_may_move is off"
        raise InternalError(msg)
