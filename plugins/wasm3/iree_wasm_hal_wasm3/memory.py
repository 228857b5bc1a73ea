"""Linear memories: a reservation of ours with wasm3's header in front.

wasm3 itself owns one memory per runtime and moves it when it grows. Here a memory is a mapping of
its maximal size, of which the bytes directly before the data hold wasm3's header: the runtime that
uses it, that runtime's stack end, and the size in bytes, against which every access is checked.
Each instance has a runtime of its own; before a call its runtime is written into the header.
"""

from __future__ import annotations

import mmap
import sys
import threading
from typing import TYPE_CHECKING

from iree_wasm_hal.engine import (
    PAGE_SIZE,
    MemoryType,
    check_growth,
    check_memory_limits,
    memory_error,
)
from iree_wasm_hal.errors import ClosedError, EngineError
from iree_wasm_hal_wasm3.c_api import ffi

if TYPE_CHECKING:
    from iree_wasm_hal_wasm3.runtime import Runtime

_MAX_PAGE_COUNT = 65536
_HEADER_BYTE_LENGTH: int = ffi.sizeof("M3MemoryHeader")
# mmap.MAP_NORESERVE came with Python 3.13.
_MAP_NORESERVE = 0x4000 if sys.platform.startswith("linux") else 0x40


class NativeMemory:
    """The mapping. Lives as long as the last view and instance.

    Attributes:
        header: The ``M3MemoryHeader *``, directly before the data.
        lock: Held by the one call or growth that is under way.
        page_count: Current size.
    """

    __slots__ = ("_bound", "_mapping", "_type", "header", "lock", "page_count")

    def __init__(self, memory_type: MemoryType) -> None:
        self._mapping = mmap.mmap(
            -1,
            mmap.PAGESIZE + memory_type.max_page_count * PAGE_SIZE,
            flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE,
        )
        start = ffi.from_buffer("uint8_t[]", self._mapping)
        offset = mmap.PAGESIZE - _HEADER_BYTE_LENGTH
        # The destructor holds the buffer, and so the mapping.
        self.header = ffi.gc(ffi.cast("M3MemoryHeader *", start + offset), _Holder(start))
        self.lock = threading.Lock()
        self._type = memory_type
        self.page_count = memory_type.min_page_count
        self._bound: Runtime | None = None

    def bind(self, runtime: Runtime) -> None:
        """Makes it the memory that a runtime sees. The caller holds the lock."""
        if self._bound is not runtime:
            self.header.runtime = runtime.pointer
            self.header.max_stack = runtime.stack_end
            self.header.length = self.page_count * PAGE_SIZE
            runtime.pointer.memory.page_count = self.page_count
            self._bound = runtime

    def unbind(self, runtime: Runtime) -> None:
        """Forgets a runtime that is no longer used. Needs no lock: at worst it is bound again."""
        if self._bound is runtime:
            self._bound = None

    def grow(self, delta_page_count: int) -> None:
        """Grows within the maximum; waits for a call that is under way."""
        with self.lock:
            check_growth(self._type, self.page_count, delta_page_count)
            self.page_count += delta_page_count
            self._bound = None

    def view(self) -> memoryview:
        """The data, at its current size."""
        start = mmap.PAGESIZE
        return memoryview(self._mapping)[start : start + self.page_count * PAGE_SIZE]


class _Holder:
    """A destructor that does nothing but keep something alive."""

    __slots__ = ("_held",)

    def __init__(self, held: object) -> None:
        self._held = held

    def __call__(self, _pointer: object) -> None:
        """Is called when cffi drops the pointer."""


class Wasm3Memory:
    """Implements ``iree_wasm_hal.engine.Memory``.

    Attributes:
        engine_token: Identifies the engine that created it.
    """

    def __init__(self, engine_token: object, memory_type: MemoryType, native: NativeMemory) -> None:
        self.engine_token = engine_token
        self._type = memory_type
        self._native: NativeMemory | None = native

    @property
    def type(self) -> MemoryType:
        """The type it was created with."""
        return self._type

    @property
    def page_count(self) -> int:
        """Current size in pages."""
        return self.native().page_count

    @property
    def growth_waits(self) -> bool:
        """True: a runtime reads the size once for each call."""
        return True

    def grow(self, delta_page_count: int) -> None:
        """Grows; waits for a call that runs on it."""
        native = self.native()
        native.grow(delta_page_count)

    def view(self) -> memoryview:
        """A writable view of the current size that keeps the native memory alive."""
        return self.native().view()

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


def create_memory(engine_token: object, memory_type: MemoryType) -> Wasm3Memory:
    """Creates a memory.

    Raises:
        EngineError: The limits make no valid type, or it is shared or has 64-bit addresses.
        LimitError: The machine cannot give it.
    """
    if memory_type.shared or memory_type.index64:
        msg = (
            f"engine 'wasm3' has neither shared nor 64-bit memories, so it cannot be {memory_type}"
        )
        raise EngineError(msg)
    check_memory_limits(memory_type, _MAX_PAGE_COUNT)
    try:
        native = NativeMemory(memory_type)
    except (OSError, OverflowError) as error:
        asked = memory_type.max_page_count
        raise memory_error(f"cannot reserve {memory_type}", asked, 0, str(error)) from error
    return Wasm3Memory(engine_token, memory_type, native)
