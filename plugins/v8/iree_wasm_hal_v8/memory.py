"""Linear memories: each lives in an isolate of its own, with all instances on it."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from iree_wasm_hal.engine import (
    PAGE_SIZE,
    MemoryType,
    check_growth,
    check_memory_limits,
    growth_error,
    memory_error,
)
from iree_wasm_hal.errors import ClosedError, InternalError
from iree_wasm_hal_v8.c_api import ffi
from iree_wasm_hal_v8.isolate import Isolate, RequestError

if TYPE_CHECKING:
    from iree_wasm_hal_v8.library import Library

_MAX_PAGE_COUNT_INDEX32 = 65536
_MAX_PAGE_COUNT_INDEX64 = 2**48
# V8's own maximum (kV8MaxWasmMemory64Pages, src/wasm/wasm-limits.h): 16 GiB.
_V8_MAX_PAGE_COUNT_INDEX64 = 262144
_V8_MAXIMUM = "that is V8's maximum for a 64-bit memory"


class NativeMemory:
    """A ``WebAssembly.Memory`` and its isolate. Its base address never changes.

    Views and instances refer to it; the isolate goes with the last of them. An ``ArrayBuffer`` that
    V8 detaches when the memory grows is no loss: views point to the memory, not to the buffer.

    Attributes:
        isolate: The isolate.
        page_count: Current size.
    """

    def __init__(self, library: Library, memory_type: MemoryType, max_page_count: int) -> None:
        self.isolate = Isolate(library)
        self._address = "i64" if memory_type.index64 else "i32"
        with self.isolate.turn:
            buffer = self.isolate.handle(
                "createMemory",
                memory_type.min_page_count,
                max_page_count,
                memory_type.shared,
                self._address,
            )
        self.base: Any = ffi.cast("uint8_t *", buffer.value.pointer)
        self.page_count = memory_type.min_page_count

    def grow(self, delta_page_count: int) -> None:
        """Grows.

        Raises:
            RequestError: V8 could not.
            InternalError: The memory moved.
        """
        with self.isolate.turn:
            buffer = self.isolate.handle("grow", delta_page_count, self._address)
            base = ffi.cast("uint8_t *", buffer.value.pointer)
            if self.page_count == 0:
                self.base = base  # an empty buffer has no address
            elif base != self.base:
                msg = f"linear memory moved from {self.base} to {base}"
                raise InternalError(msg)
            self.page_count = buffer.length // PAGE_SIZE


class V8Memory:
    """Implements ``iree_wasm_hal.engine.Memory``.

    Attributes:
        engine_id: Which engine created it.
    """

    def __init__(
        self, engine_id: object, memory_type: MemoryType, native: NativeMemory, max_page_count: int
    ) -> None:
        self.engine_id = engine_id
        self._type = memory_type
        self._max_page_count = max_page_count
        self._native: NativeMemory | None = native

    @property
    def type(self) -> MemoryType:
        """The type it was created with."""
        return self._type

    @property
    def page_count(self) -> int:
        """Current size in pages; never waits."""
        return self.native().page_count

    @property
    def growth_waits(self) -> bool:
        """True: the isolate that grows it runs one thing at a time."""
        return True

    def grow(self, delta_page_count: int) -> None:
        """Grows the memory in place; waits for a running call, on a shared memory too."""
        native = self.native()
        page_count = native.page_count
        check_growth(self._type, page_count, delta_page_count)
        allowed = self._max_page_count
        if page_count + delta_page_count > allowed:
            raise growth_error(page_count, delta_page_count, allowed, _V8_MAXIMUM)
        try:
            native.grow(delta_page_count)
        except RequestError as error:
            reason = error.message
            raise growth_error(page_count, delta_page_count, allowed, reason) from error

    def view(self) -> memoryview:
        """A writable view of the current size that keeps the native memory alive."""
        native = self.native()

        def keep_alive(_pointer: object, _native: NativeMemory = native) -> None:
            """Holds the native memory for as long as cffi holds this destructor."""

        pointer = ffi.gc(native.base, keep_alive)
        return memoryview(ffi.buffer(pointer, native.page_count * PAGE_SIZE)).cast("B")

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


def create_memory(library: Library, engine_id: object, memory_type: MemoryType) -> V8Memory:
    """Creates a memory.

    Raises:
        EngineError: The limits make no valid type.
        LimitError: V8 cannot give it, or the address space left for memories is too small.
    """
    limit = _MAX_PAGE_COUNT_INDEX64 if memory_type.index64 else _MAX_PAGE_COUNT_INDEX32
    check_memory_limits(memory_type, limit)
    what, asked = f"cannot create {memory_type}", memory_type.min_page_count
    allowed = _V8_MAX_PAGE_COUNT_INDEX64 if memory_type.index64 else _MAX_PAGE_COUNT_INDEX32
    if asked > allowed:
        raise memory_error(what, asked, allowed, _V8_MAXIMUM)
    max_page_count = min(memory_type.max_page_count, allowed)
    space, reserved = library.address_space, max_page_count * PAGE_SIZE
    if not space.take(reserved):
        reason = "open memories have taken V8's address space; close some or lower their maximum"
        raise memory_error(what, max_page_count, space.total // PAGE_SIZE, reason)
    try:
        native = NativeMemory(library, memory_type, max_page_count)
    except BaseException as error:
        space.give_back(reserved)
        if isinstance(error, RequestError):
            raise memory_error(what, asked, 0, error.message) from error
        raise
    weakref.finalize(native, _give_back, library, reserved).atexit = False
    return V8Memory(engine_id, memory_type, native, max_page_count)


def _give_back(library: Library, reserved_byte_length: int) -> None:
    if not library.forked:  # a forked child may have inherited a lock that is held
        library.address_space.give_back(reserved_byte_length)
