"""Suballocation of one growable linear memory. All state is on the host."""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections import deque
from typing import TYPE_CHECKING

from iree_wasm_hal.engine.contract import LOW_MEMORY_BYTE_LENGTH
from iree_wasm_hal.errors import LimitError
from iree_wasm_hal.hal.huge_pages import LARGE_BYTE_LENGTH
from iree_wasm_hal.hal.patient_lock import PatientLock
from iree_wasm_hal.hal.statistics import MemoryStatistics
from iree_wasm_hal.status import StatusCode, invocation_error

if TYPE_CHECKING:
    from _thread import RLock

    from iree_wasm_hal.hal.guest_memory import GuestMemory

__all__ = ["ALIGNMENT", "Block", "Suballocator"]

ALIGNMENT = 64
"""Every block starts and ends on a multiple of this: a cache line, and the widest vector."""

_MAX_CACHED_PER_SIZE = 16


class Block:
    """A range of linear memory; given back when the last reference goes."""

    __slots__ = ("_retired", "byte_length", "guest_ptr")

    guest_ptr: int
    byte_length: int
    _retired: deque[int]
    # Without __init__: Ctrl-C could come at its entry, when the range is no longer free.

    def __del__(self) -> None:
        # Any thread may drop the last reference, also from within the garbage collector: append
        # takes no lock, the next allocation frees the block.
        try:  # noqa: SIM105 - twice as fast
            self._retired.append(self.guest_ptr)
        except AttributeError:  # Ctrl-C came before it was given a range
            pass


class Suballocator:
    """Best fit with immediate coalescing, behind a cache of recently freed sizes.

    A freed block first waits in the cache of its exact size, because a program asks for the same
    sizes on every call; cached blocks are merged with their neighbours as soon as no free range
    is large enough. Thread-safe. Growing the memory may wait for a running kernel; whoever needs no
    growth does not wait for that, and a call that waits for another's growth can be ended.

    A signal handler of Python's may interrupt an allocation half way; what it asks for then is
    refused with InvocationError, FAILED_PRECONDITION. Where it raises, as Ctrl-C does, the free
    ranges are left half changed: the next allocation makes them anew, as what is not live.
    """

    __slots__ = (
        "_by_end",
        "_by_start",
        "_cache",
        "_end",
        "_fresh_allocations",
        "_growing",
        "_growths",
        "_is_torn",
        "_live",
        "_lock",
        "_memory",
        "_peak",
        "_retired",
        "_sorted",
        "_used",
    )

    def __init__(self, memory: GuestMemory) -> None:
        self._memory = memory
        self._lock = threading.RLock()  # never taken twice; short, and held without the engine
        self._growing = PatientLock()  # taken before _lock
        self._retired: deque[int] = deque()
        self._cache: dict[int, list[int]] = {}  # byte length -> starts
        self._live: dict[int, int] = {}  # start -> byte length
        self._sorted: list[tuple[int, int]] = []  # free ranges as (byte length, start)
        self._by_start: dict[int, int] = {}  # free ranges: start -> byte length
        self._by_end: dict[int, int] = {}  # free ranges: end -> start
        self._used = 0
        self._peak = 0
        self._growths = 0
        self._fresh_allocations = 0
        self._is_torn = False  # whether what is free has to be found out from what is live
        self._end = LOW_MEMORY_BYTE_LENGTH
        self._extend(memory.byte_length)

    def allocate(self, byte_length: int, alignment: int = ALIGNMENT) -> Block:
        """Allocates at least ``byte_length`` bytes; their contents are undefined.

        Args:
            byte_length: 0 or more; also a block of 0 bytes has an address of its own.
            alignment: Of the address; a power of two.

        Raises:
            LimitError: The memory cannot hold it: not below its limit, or not on this machine.
            InvocationError: FAILED_PRECONDITION, in a signal handler.
            InterruptedCallError: This thread's call ended while another's growth waited.
        """
        size = (byte_length + 63) & -64 or 64
        if alignment > ALIGNMENT:
            return self._allocate_aligned(size, alignment)
        lock = self._lock
        while True:
            if lock._is_owned():  # type: ignore[attr-defined]  # as threading.Condition does
                _check_not_inside(lock)
            with lock:
                try:
                    if self._retired or self._is_torn:
                        self._drain()
                    cached = self._cache.get(size)
                    start = cached.pop() if cached else self._take(size)
                    if start is not None:
                        block = Block()
                        # No call from here on, so that Ctrl-C finds all of it done or nothing.
                        block.guest_ptr, block.byte_length = start, size
                        block._retired = self._retired
                        self._live[start] = size
                        used = self._used + size
                        self._used = used
                        if used > self._peak:  # noqa: PLR1730 - max() is a call on the hot path
                            self._peak = used
                        return block
                except BaseException:  # raised again
                    self._is_torn = True
                    raise
            self._grow(size)

    @property
    def statistics(self) -> MemoryStatistics:
        """The figures now; what is cached for reuse stays so, and nobody's growth is waited for.

        Raises:
            InvocationError: FAILED_PRECONDITION, in a signal handler.
        """
        _check_not_inside(self._lock)
        with self._lock:
            try:
                self._drain()
            except BaseException:  # raised again
                self._is_torn = True
                raise
            free = self._free_ranges()
            used, peak, end = self._used, self._peak, self._end
            growths, fresh_allocations = self._growths, self._fresh_allocations
        gaps = [size for _, size in _merged(free)]
        return MemoryStatistics(
            used=used,
            peak=peak,
            capacity=end - LOW_MEMORY_BYTE_LENGTH,
            limit=self._memory.limit - LOW_MEMORY_BYTE_LENGTH,
            free_blocks=len(gaps),
            largest_free_block=max(gaps, default=0),
            growths=growths,
            fresh_allocations=fresh_allocations,
        )

    def _allocate_aligned(self, size: int, alignment: int) -> Block:
        needed = size + alignment - ALIGNMENT
        while True:
            _check_not_inside(self._lock)
            with self._lock:
                try:
                    self._drain()
                    start = self._take(needed)
                    if start is not None:
                        aligned = -(-start // alignment) * alignment
                        self._insert(start, aligned - start)
                        self._insert(aligned + size, start + needed - aligned - size)
                        self._peak = max(self._peak, self._used + size)
                        block = Block()
                        # No call from here on, as in ``allocate``.
                        block.guest_ptr, block.byte_length = aligned, size
                        block._retired = self._retired
                        self._live[aligned] = size
                        self._used += size
                        return block
                except BaseException:  # raised again
                    self._is_torn = True
                    raise
            self._grow(needed)

    def _drain(self) -> None:
        """Frees the blocks whose last reference went."""
        if self._is_torn:
            self._mend()
        retired, live, cache = self._retired, self._live, self._cache
        while retired:
            start = retired[0]  # not taken out by a call, behind which Ctrl-C may come
            size = live.pop(start)
            del retired[0]
            self._used -= size
            starts = cache.get(size)
            if starts is None:
                cache[size] = [start]
            elif len(starts) < _MAX_CACHED_PER_SIZE:
                starts.append(start)
            else:
                self._insert(start, size)

    def _mend(self) -> None:
        """Finds out what is free from what is live, after Ctrl-C in the middle of a change."""
        retired, live = self._retired, self._live
        while retired:
            live.pop(retired[0], None)  # perhaps not any more: Ctrl-C came behind this very call
            del retired[0]
        for free in (self._cache, self._sorted, self._by_start, self._by_end):
            free.clear()
        start = LOW_MEMORY_BYTE_LENGTH
        for block_start, size in sorted(live.items()):
            self._insert(start, block_start - start)
            start = block_start + size
        self._insert(start, self._end - start)
        self._used = sum(live.values())
        self._is_torn = False

    def _flush_cache(self) -> None:
        for size, starts in [*self._cache.items()]:
            while starts:
                self._insert(starts.pop(), size)
        self._cache.clear()

    def _find(self, size: int) -> int | None:
        """The position in ``_sorted`` of the smallest free range that holds ``size`` bytes."""
        index = bisect_left(self._sorted, (size, 0))
        if index == len(self._sorted) and self._merging_helps(size):
            self._flush_cache()
            index = bisect_left(self._sorted, (size, 0))
        return index if index < len(self._sorted) else None

    def _take(self, size: int) -> int | None:
        """Takes the smallest free range that holds ``size`` bytes; None if there is none."""
        index = self._find(size)
        if index is None:
            return None
        free_size, start = self._sorted.pop(index)
        del self._by_start[start], self._by_end[start + free_size]
        if free_size > size:
            self._add(start + size, free_size - size)
        self._fresh_allocations += 1
        if size >= LARGE_BYTE_LENGTH:
            self._memory.expect_use(start, size)
        return start

    def _merging_helps(self, size: int) -> bool:
        """Whether cached blocks make room, with what is free around them or before the end.

        Otherwise they stay cached: a program that needs a little more now, such as for a result
        while its last one is still held, would find none of its sizes again.
        """
        gaps = _merged(self._free_ranges())
        if not gaps or not self._cache:
            return False
        tail = self._by_end.get(self._end, self._end)
        last_start, last_size = gaps[-1]
        reaches_end = last_start + last_size == self._end
        return max(each for _, each in gaps) >= size or (reaches_end and last_start < tail)

    def _free_ranges(self) -> list[tuple[int, int]]:
        """All that is not live, as (start, byte length), unmerged."""
        cached = [(start, size) for size, starts in self._cache.items() for start in starts]
        return [*self._by_start.items(), *cached]

    def _insert(self, start: int, size: int) -> None:
        """Makes a range free, merged with the free ranges on both sides."""
        if not size:
            return
        before = self._by_end.get(start)
        if before is not None:
            size += start - before
            self._remove(before)
            start = before
        after_size = self._by_start.get(start + size)
        if after_size is not None:
            self._remove(start + size)
            size += after_size
        self._add(start, size)

    def _add(self, start: int, size: int) -> None:
        insort(self._sorted, (size, start))
        self._by_start[start] = size
        self._by_end[start + size] = start

    def _remove(self, start: int) -> None:
        size = self._by_start.pop(start)
        del self._by_end[start + size]
        del self._sorted[bisect_left(self._sorted, (size, start))]

    def _grow(self, size: int) -> None:
        """Makes the memory larger, until a free range holds ``size`` bytes.

        Another thread may take that range before the caller does.
        """
        _check_not_inside(self._growing)
        with self._growing:
            with self._lock:
                try:
                    self._drain()
                    if self._cache.get(size) or self._find(size) is not None:
                        return  # another thread made room meanwhile
                except BaseException:  # raised again
                    self._is_torn = True
                    raise
                tail = self._by_end.get(self._end, self._end)  # a free range at the end counts too
                used, largest = self._used, self._sorted[-1][0] if self._sorted else 0
            try:
                self._memory.grow_to(tail + size)
            except LimitError as error:
                raise self._out_of_memory(size, used, largest) from error
            with self._lock:
                try:
                    self._growths += 1
                    self._extend(self._memory.byte_length)
                except BaseException:  # raised again
                    self._is_torn = True
                    raise

    def _out_of_memory(self, size: int, used: int, largest: int) -> LimitError:
        limit = self._memory.limit - LOW_MEMORY_BYTE_LENGTH
        return LimitError(
            f"out of linear memory: {size} bytes asked for, {used} of {limit} in use"
            f" (largest free block: {largest} bytes, memory now {self._memory.byte_length} bytes);"
            " raise max_memory_bytes, release outputs, or use a smaller batch",
            name="linear memory",
            asked=size,
            allowed=limit,
        )

    def _extend(self, end: int) -> None:
        start, self._end = self._end, max(end, self._end)
        self._insert(start, self._end - start)


def _check_not_inside(lock: RLock) -> None:
    """Checks that this thread is not within: a signal handler would find the state half changed."""
    if lock._is_owned():  # type: ignore[attr-defined]  # as threading.Condition does
        raise invocation_error(
            StatusCode.FAILED_PRECONDITION,
            "the device's allocator is at work on this very thread; a signal handler must leave the"
            " device alone until that is over",
        )


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The gaps that ranges (start, byte length), none of which overlap, make together."""
    gaps: list[tuple[int, int]] = []
    for start, size in sorted(ranges):
        if gaps and sum(gaps[-1]) == start:
            gaps[-1] = (gaps[-1][0], gaps[-1][1] + size)
        else:
            gaps.append((start, size))
    return gaps
