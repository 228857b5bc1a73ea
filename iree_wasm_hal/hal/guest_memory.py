"""The linear memory of one device, with its current zero-copy views."""

from __future__ import annotations

import contextlib
import gc
import threading
from typing import NoReturn, cast

import numpy as np

from iree_wasm_hal.engine.contract import PAGE_SIZE, Engine, Memory, MemoryType
from iree_wasm_hal.errors import ClosedError, LimitError
from iree_wasm_hal.hal.huge_pages import LARGE_BYTE_LENGTH, advise_huge_pages, huge_page_end
from iree_wasm_hal.hal.patient_lock import PatientLock
from iree_wasm_hal.status import StatusCode, invocation_error

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


class _Closed:
    """Stands where the views of a closed memory were. To numpy it is a TypeError."""

    def __getitem__(self, _key: object) -> NoReturn:
        raise ClosedError("use of a buffer after its device was closed")

    def __setitem__(self, _key: object, _value: object) -> NoReturn:
        raise ClosedError("use of a buffer after its device was closed")

    def __len__(self) -> NoReturn:
        raise ClosedError("use of a buffer after its device was closed")

    @property
    def __array_interface__(self) -> NoReturn:
        raise ClosedError("use of a buffer after its device was closed")


_CLOSED = _Closed()


class GuestMemory:
    """A growable linear memory and views on its current size.

    The base address never changes, so views taken before a growth stay right for the bytes they
    cover. Thread-safe except ``grow_to``, which the caller serialises.

    Attributes:
        byte_length: What the allocator may give out. ``view`` and ``array`` may reach further, to
            the end of a huge page: the last block is then faster to touch.
        in_use: Held while the engine runs code on the memory or makes instances. Whoever waits for
            it can be ended; who waits in the engine cannot. Taken after the device's other locks.
    """

    __slots__ = (
        "_is_closed",
        "_lock",
        "array",
        "byte_length",
        "in_use",
        "limit",
        "memory",
        "type",
        "view",
    )

    def __init__(self, engine: Engine, memory_type: MemoryType) -> None:
        self.type = memory_type
        self.memory = _create(engine, memory_type)
        self.limit = memory_type.max_page_count * PAGE_SIZE
        self.in_use = PatientLock()
        self._lock = threading.RLock()  # around the views: one thread may close, another grow
        self._is_closed = False
        self._refresh()
        self.byte_length = len(self.view)

    def _refresh(self) -> None:
        view = self.memory.view()
        array = np.ndarray.__new__(GuestArray, (len(view),), np.uint8, view)
        with self._lock:
            if self._is_closed:
                self.check_open()
            self.view = view
            self.array = array

    def grow_to(self, byte_length: int) -> None:
        """Grows the memory to at least ``byte_length`` bytes, by an eighth of itself if it can.

        Where the engine cannot grow it during a call, that call is waited for.

        Raises:
            LimitError: The maximum or the machine does not allow it.
            InterruptedCallError: This thread's call ended first.
            InvocationError: FAILED_PRECONDITION, in a signal handler of the thread whose call runs.
        """
        if len(self.view) != self.memory.page_count * PAGE_SIZE:
            self._refresh()  # Ctrl-C came behind an earlier growth
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
        # Growing takes microseconds. Growing much tempts the allocator to use the new end, and not
        # what is free before: by half, a real trace took 2.2 times its peak.
        wanted = min(maximum, max(needed, page_count + page_count // 8))
        try:
            self._reach(wanted)
        except LimitError:
            if wanted == needed:
                raise
            wanted = needed
            self._reach(needed)
        self.byte_length = wanted * PAGE_SIZE

    def _reach(self, page_count: int) -> None:
        """Grows the engine's memory to so many pages, or more: where it gets much, a huge page."""
        present = len(self.view) // PAGE_SIZE
        if page_count <= present:
            return
        if (page_count - present) * PAGE_SIZE >= LARGE_BYTE_LENGTH:
            end = huge_page_end(self.array, page_count * PAGE_SIZE)
            page_count = min(-(-end // PAGE_SIZE), self.type.max_page_count)
        self._grow(page_count - present)
        self._refresh()

    def _grow(self, delta_page_count: int) -> None:
        if not self.memory.growth_waits:
            self.memory.grow(delta_page_count)
            return
        if self.in_use._is_owned():  # type: ignore[attr-defined]  # as threading.Condition does
            raise invocation_error(
                StatusCode.FAILED_PRECONDITION,
                "the memory must grow, and the device runs code on this very thread; a signal "
                "handler must leave the device alone until that is over",
            )
        with self.in_use:
            self.memory.grow(delta_page_count)

    def expect_use(self, guest_ptr: int, byte_length: int) -> None:
        """Lets the system back a large range that is written soon with huge pages, if it can."""
        advise_huge_pages(self.array, guest_ptr, guest_ptr + byte_length)

    def check_open(self) -> None:
        """Checks that ``view`` and ``array`` are there.

        Raises:
            ClosedError: They are not any more.
        """
        self.view[:0]

    def close(self) -> None:
        """Gives the memory up; views and arrays that callers hold stay valid.

        Buffers that outlive their device may still hold this object: it must not hold the memory.
        """
        self.memory.close()
        with self._lock:
            self._is_closed = True
            self.view = cast("memoryview", _CLOSED)
            self.array = cast("GuestArray", _CLOSED)


def _create(engine: Engine, memory_type: MemoryType) -> Memory:
    """Creates a memory, if need be in the place of those that nobody uses any more.

    A program that was dropped without ``close`` is cyclic garbage. Python collects that by the
    number of its objects, and does not see the address space that it holds.
    """
    with contextlib.suppress(LimitError):
        return engine.create_memory(memory_type)
    gc.collect()
    return engine.create_memory(memory_type)
