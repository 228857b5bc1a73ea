"""Linear memories: regions of address space, which each instance sees from a store of its own."""

from __future__ import annotations

import threading
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from iree_wasm_hal.engine import (
    PAGE_SIZE,
    MemoryType,
    check_growth,
    check_memory_limits,
    growth_error,
    memory_error,
)
from iree_wasm_hal.errors import ClosedError, EngineError, InternalError
from iree_wasm_hal_wasmtime.aliases import (
    Alias,
    CreationError,
    add_alias,
    memory_module,
)
from iree_wasm_hal_wasmtime.c_api import (
    EXTERN_MEMORY,
    EXTERN_SHAREDMEMORY,
    PAGE_SIZE_LOG2,
    ffi,
)
from iree_wasm_hal_wasmtime.memory_creator import raise_postponed
from iree_wasm_hal_wasmtime.messages import take_error_message
from iree_wasm_hal_wasmtime.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from iree_wasm_hal_wasmtime.library import Library
    from iree_wasm_hal_wasmtime.native_engine import NativeEngine
    from iree_wasm_hal_wasmtime.program import WasmtimeProgram

_MAX_PAGE_COUNT_INDEX32 = 65536


class _Region:
    """The bytes of a memory: a ``wasmtime_sharedmemory_t*``, whose address never changes.

    Attributes:
        pointer: The ``wasmtime_sharedmemory_t*``.
        base: Its first byte.
    """

    def __init__(self, lib: Any, engine: NativeEngine, memory_type: MemoryType) -> None:
        self._lib = lib
        type_pointer = _new_type_pointer(lib, replace(memory_type, shared=True))
        result = ffi.new("wasmtime_sharedmemory_t **")
        error = lib.wasmtime_sharedmemory_new(engine.pointer, type_pointer, result)
        if error:
            raise CreationError(take_error_message(lib, error))
        self.pointer = ffi.gc(result[0], lib.wasmtime_sharedmemory_delete)
        self.base = lib.wasmtime_sharedmemory_data(self.pointer)

    def page_count(self) -> int:
        """Current size."""
        return int(self._lib.wasmtime_sharedmemory_size(self.pointer))

    def grow(self, delta_page_count: int) -> str | None:
        """Grows; wasmtime's words if it could not."""
        previous = ffi.new("uint64_t *")
        error = self._lib.wasmtime_sharedmemory_grow(self.pointer, delta_page_count, previous)
        if error:
            return take_error_message(self._lib, error)
        base = self._lib.wasmtime_sharedmemory_data(self.pointer)
        if base != self.base:
            msg = f"linear memory moved from {self.base} to {base}"
            raise InternalError(msg)
        return None


class NativeMemory:
    """A shared memory. Each instance on it has a store of its own.

    Attributes:
        base: Its first byte; the address never changes.
    """

    def __init__(self, library: Library, engine: NativeEngine, memory_type: MemoryType) -> None:
        self._library = library
        self._engine = engine
        self._region = _Region(library.lib, engine, memory_type)
        self.base = self._region.base

    def page_count(self) -> int:
        """Current size."""
        return self._region.page_count()

    def grow(self, delta_page_count: int) -> str | None:
        """Grows; wasmtime's words if it could not."""
        return self._region.grow(delta_page_count)

    def new_store(self) -> Store:
        """A new store for an instance."""
        return Store(self._library, self._engine.pointer)

    def fill_extern(self, store: Store, extern: Any) -> None:
        """Writes the import for ``wasmtime_instance_new``."""
        del store
        extern.kind = EXTERN_SHAREDMEMORY
        extern.of.sharedmemory = self._region.pointer


class UnsharedMemory(NativeMemory):
    """An unshared memory: in the store of each instance, an alias of the same bytes."""

    def __init__(
        self, library: Library, engine: NativeEngine, memory_type: MemoryType, module: Any
    ) -> None:
        super().__init__(library, engine, memory_type)
        self._module = module
        maximum = memory_type.max_page_count * PAGE_SIZE
        self._capacity = min(maximum, engine.reservation_byte_length)
        self._lock = threading.Lock()
        self._aliases: weakref.WeakKeyDictionary[Store, Alias] = weakref.WeakKeyDictionary()

    def grow(self, delta_page_count: int) -> str | None:
        """Grows, with the memories of all stores; waits for a running call."""
        with self._lock:
            reason = super().grow(delta_page_count)
            if reason is None:
                for store, alias in [*self._aliases.items()]:
                    self._follow(store, alias)
        raise_postponed()
        return reason

    def new_store(self) -> Store:
        """A new store with an alias of the memory."""
        store = Store(self._library, self._engine.pointer, self._lock)
        with self._lock:
            byte_length = self.page_count() * PAGE_SIZE
            this = weakref.ref(self)  # the store keeps the memory, and with it what this needs

            def grow_region(growing: Alias, new_byte_length: int) -> Any:
                memory = this()
                return ffi.NULL if memory is None else memory._grow_region(growing, new_byte_length)

            alias = Alias(self.base, byte_length, self._capacity, grow_region)
            store.memory = add_alias(store, self._module.native(), alias)
            store.keep(self)
            self._aliases[store] = alias
        return store

    def fill_extern(self, store: Store, extern: Any) -> None:
        """Writes the import for ``wasmtime_instance_new``."""
        extern.kind = EXTERN_MEMORY
        extern.of.memory = store.memory[0]

    def _grow_region(self, growing: Alias, byte_length: int) -> Any:
        """Grows the region for a program's own ``memory.grow``, in a call that holds the lock."""
        delta = byte_length // PAGE_SIZE - self.page_count()
        if delta <= 0:
            return ffi.NULL
        reason = super().grow(delta)
        if reason is not None:
            return self._library.lib.wasmtime_error_new(reason.encode())
        for store, alias in [*self._aliases.items()]:
            if alias is not growing:
                self._follow(store, alias)
        return ffi.NULL

    def _follow(self, store: Store, alias: Alias) -> None:
        """Gives an alias the size of the region."""
        delta = self.page_count() - alias.byte_length // PAGE_SIZE
        previous = ffi.new("uint64_t *")
        error = store.lib.wasmtime_memory_grow(store.context, store.memory, delta, previous)
        if error:
            msg = f"a memory did not grow with its region: {take_error_message(store.lib, error)}"
            raise InternalError(msg)


class WasmtimeMemory:
    """Implements ``iree_wasm_hal.engine.Memory``.

    Attributes:
        engine: The native engine that created it.
    """

    def __init__(self, engine: NativeEngine, memory_type: MemoryType, native: NativeMemory) -> None:
        self.engine = engine
        self._type = memory_type
        self._native: NativeMemory | None = native

    @property
    def type(self) -> MemoryType:
        """The type it was created with."""
        return self._type

    @property
    def page_count(self) -> int:
        """Current size in pages."""
        return self.native().page_count()

    @property
    def growth_waits(self) -> bool:
        """Where it is unshared: it is in stores, and one thread at a time uses a store."""
        return not self._type.shared

    def grow(self, delta_page_count: int) -> None:
        """Grows; waits for a call that runs on an unshared memory."""
        native = self.native()
        page_count = native.page_count()
        check_growth(self._type, page_count, delta_page_count)
        reason = native.grow(delta_page_count)
        if reason is not None:
            allowed = self._type.max_page_count
            reserved_page_count = self.engine.reservation_byte_length // PAGE_SIZE
            if page_count + delta_page_count > reserved_page_count:
                allowed = reserved_page_count
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
    engine: NativeEngine,
    memory_type: MemoryType,
    compile_program: Callable[[bytes], WasmtimeProgram],
) -> WasmtimeMemory:
    """Creates a memory.

    Args:
        library: The C library.
        engine: Reserves what the memory may take.
        memory_type: What to create.
        compile_program: Compiles a module for that engine.

    Raises:
        EngineError: The limits make no valid type.
        LimitError: wasmtime or the machine cannot give it.
    """
    check_memory_limits(memory_type, 2**48 if memory_type.index64 else _MAX_PAGE_COUNT_INDEX32)
    try:
        if memory_type.shared:
            native = NativeMemory(library, engine, memory_type)
        else:
            module = compile_program(memory_module(memory_type))
            native = UnsharedMemory(library, engine, memory_type, module)
    except CreationError as error:
        asked = memory_type.min_page_count
        raise memory_error(f"cannot create {memory_type}", asked, 0, str(error)) from error
    return WasmtimeMemory(engine, memory_type, native)


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
