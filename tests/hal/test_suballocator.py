"""The suballocator against a model that knows only which bytes are taken."""

from __future__ import annotations

import contextlib
import itertools
import random
import signal
import sys
import threading
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from iree_wasm_hal.engine.contract import LOW_MEMORY_BYTE_LENGTH, PAGE_SIZE, MemoryType
from iree_wasm_hal.errors import CallTimeoutError, InvocationError, LimitError
from iree_wasm_hal.hal import suballocator
from iree_wasm_hal.hal.call import Call, inside
from iree_wasm_hal.hal.guest_memory import GuestMemory
from iree_wasm_hal.hal.statistics import Counters
from iree_wasm_hal.hal.suballocator import Block, Suballocator

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


class HostMemory:
    """A linear memory without an engine: it grows in place, like a real one."""

    growth_waits = False

    def __init__(self, memory_type: MemoryType) -> None:
        self.type = memory_type
        self._bytes = bytearray(memory_type.max_page_count * PAGE_SIZE)
        self.page_count = memory_type.min_page_count

    def grow(self, delta_page_count: int) -> None:
        if self.page_count + delta_page_count > self.type.max_page_count:
            raise LimitError("grow", name="linear memory", asked=delta_page_count, allowed=0)
        self.page_count += delta_page_count

    def view(self) -> memoryview:
        return memoryview(self._bytes)[: self.page_count * PAGE_SIZE]

    def close(self) -> None:
        """Nothing to free."""


class HostEngine:
    """Only creates memories."""

    def create_memory(self, memory_type: MemoryType) -> HostMemory:
        return HostMemory(memory_type)


def make(max_page_count: int = 16, min_page_count: int = 2) -> Suballocator:
    memory_type = MemoryType(min_page_count, max_page_count)
    return Suballocator(GuestMemory(HostEngine(), memory_type))  # type: ignore[arg-type]  # a memory is all it needs


LIMIT = 15 * PAGE_SIZE  # 16 pages less the reserved first one


class SuballocatorMachine(RuleBasedStateMachine):
    """Random allocations and frees; live ranges are kept in a plain list."""

    blocks: Bundle[object] = Bundle("blocks")

    def __init__(self) -> None:
        super().__init__()
        self.suballocator = make()
        self.live: list[tuple[int, int]] = []
        self.peak = 0

    @rule(
        target=blocks,
        size=st.one_of(st.integers(0, 300), st.integers(0, 200_000), st.sampled_from([64, 4096])),
        alignment=st.sampled_from([64, 64, 64, 128, 4096]),
    )
    def allocate(self, size: int, alignment: int) -> object:
        rounded = max(64, -(-size // 64) * 64)
        try:
            block = self.suballocator.allocate(size, alignment)
        except LimitError:
            # Refusing is right only when no gap between live ranges could hold it.
            assert self.largest_gap() < rounded + alignment - 64
            return None
        start, end = block.guest_ptr, block.guest_ptr + block.byte_length
        assert block.byte_length == rounded
        assert start % alignment == 0
        assert start >= LOW_MEMORY_BYTE_LENGTH
        assert end <= 16 * PAGE_SIZE
        assert all(end <= s or e <= start for s, e in self.live)
        self.live.append((start, end))
        self.peak = max(self.peak, self.used())
        return [block, (start, end)]

    @rule(holder=consumes(blocks))
    def free(self, holder: object) -> None:
        if isinstance(holder, list):
            self.live.remove(holder[1])
            holder.clear()  # the last reference to the block

    @rule()
    def statistics(self) -> None:
        statistics = self.suballocator.statistics
        assert statistics.used == self.used()
        assert statistics.peak == self.peak
        assert statistics.limit == LIMIT
        gaps = self.gaps(statistics.capacity + LOW_MEMORY_BYTE_LENGTH)
        assert statistics.largest_free_block == max(gaps, default=0)
        assert statistics.free_blocks == sum(gap > 0 for gap in gaps)

    @invariant()
    def live_ranges_do_not_overlap(self) -> None:
        ordered = sorted(self.live)
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(ordered))

    def used(self) -> int:
        return sum(end - start for start, end in self.live)

    def gaps(self, memory_end: int) -> list[int]:
        edges = [LOW_MEMORY_BYTE_LENGTH]
        for start, end in sorted(self.live):
            edges += [start, end]
        edges.append(memory_end)
        return [end - start for start, end in zip(edges[::2], edges[1::2], strict=True)]

    def largest_gap(self) -> int:
        return max(self.gaps(16 * PAGE_SIZE))

    def teardown(self) -> None:
        self.live.clear()


TestSuballocator = SuballocatorMachine.TestCase
TestSuballocator.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


def test_error_says_asked_used_and_limit() -> None:
    suballocator = make()
    held = suballocator.allocate(PAGE_SIZE)
    with pytest.raises(LimitError) as caught:
        suballocator.allocate(LIMIT)
    assert held.byte_length == PAGE_SIZE
    assert caught.value.asked == LIMIT
    assert caught.value.allowed == LIMIT
    assert f"{LIMIT} bytes asked for, {PAGE_SIZE} of {LIMIT} in use" in str(caught.value)


def test_freed_neighbours_become_one_block() -> None:
    suballocator = make(max_page_count=2)
    thirds = [suballocator.allocate(PAGE_SIZE // 4) for _ in range(4)]
    thirds.clear()
    assert suballocator.statistics.largest_free_block == PAGE_SIZE
    assert suballocator.allocate(PAGE_SIZE).guest_ptr == LOW_MEMORY_BYTE_LENGTH


def test_the_same_size_gets_the_same_place_again() -> None:
    suballocator = make()
    first = suballocator.allocate(1000)
    guest_ptr = first.guest_ptr
    del first
    assert suballocator.allocate(1000).guest_ptr == guest_ptr


def test_grows_by_an_eighth_until_the_limit_and_no_further() -> None:
    memory = GuestMemory(HostEngine(), MemoryType(16, 24))  # type: ignore[arg-type]  # a memory is all it needs
    suballocator = Suballocator(memory)
    held = [suballocator.allocate(15 * PAGE_SIZE)]
    sizes = []
    for _ in range(8):
        held.append(suballocator.allocate(PAGE_SIZE))
        sizes.append(memory.byte_length // PAGE_SIZE)
    assert sizes == [18, 18, 20, 20, 22, 22, 24, 24]
    assert len(memory.view) == 24 * PAGE_SIZE
    with pytest.raises(LimitError):
        suballocator.allocate(1)


def test_many_blocks_stay_fast_and_all_come_back() -> None:
    suballocator = make(max_page_count=1024)
    rng = random.Random(7)
    blocks = [suballocator.allocate(rng.randrange(1, 4000)) for _ in range(10_000)]
    rng.shuffle(blocks)
    while blocks:
        blocks.pop()
    statistics = suballocator.statistics
    assert statistics.used == 0
    assert statistics.largest_free_block == statistics.capacity


def test_statistics_leave_the_cache_as_it_is() -> None:
    suballocator = make()
    blocks = [suballocator.allocate(4096) for _ in range(4)]
    freed = {blocks.pop(0).guest_ptr, blocks.pop(1).guest_ptr}
    before = suballocator.statistics
    assert suballocator.statistics == before
    assert before.free_blocks == 3  # two gaps, and the rest of the memory
    blocks += [suballocator.allocate(4096) for _ in range(2)]
    assert {block.guest_ptr for block in blocks[2:]} == freed
    assert suballocator.statistics.fresh_allocations == before.fresh_allocations == 4


def test_fresh_allocations_and_growths_are_counted() -> None:
    suballocator = make(max_page_count=16, min_page_count=2)
    start = suballocator.statistics
    assert (start.fresh_allocations, start.growths) == (0, 0)
    for size in (100, 100, 5000, 100, 5000):  # freed at once: the first of each size is fresh
        suballocator.allocate(size)
    statistics = suballocator.statistics
    assert (statistics.fresh_allocations, statistics.growths) == (2, 0)
    held = [suballocator.allocate(100, 4096), suballocator.allocate(3 * PAGE_SIZE)]
    statistics = suballocator.statistics
    assert (statistics.fresh_allocations, statistics.growths) == (4, 1)
    with pytest.raises(LimitError):
        suballocator.allocate(LIMIT)
    assert suballocator.statistics.growths == 1
    held.clear()


def test_growth_that_waits_for_a_kernel_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    suballocator = make()
    growing, kernel_ends = threading.Event(), threading.Event()
    grow = HostMemory.grow

    def wait_and_grow(memory: HostMemory, delta_page_count: int) -> None:
        growing.set()
        assert kernel_ends.wait(60)
        grow(memory, delta_page_count)

    monkeypatch.setattr(HostMemory, "grow", wait_and_grow)
    grown: list[object] = []
    grower = threading.Thread(target=lambda: grown.append(suballocator.allocate(3 * PAGE_SIZE)))
    grower.start()
    try:
        assert growing.wait(60)
        seen: list[object] = []

        def others() -> None:
            seen.append(suballocator.statistics.capacity)
            held = suballocator.allocate(100)
            seen.append(suballocator.statistics.used)
            del held
            with inside(Call(0.05)), pytest.raises(CallTimeoutError):
                suballocator.allocate(2 * PAGE_SIZE)
            seen.append(suballocator.statistics.growths)

        other = threading.Thread(target=others, daemon=True)
        other.start()
        other.join(30)
        assert seen == [PAGE_SIZE, 128, 0]
    finally:
        kernel_ends.set()
        grower.join()
    assert len(grown) == 1
    assert suballocator.statistics.growths == 1


def test_many_threads_grow_at_once() -> None:
    suballocator = make(max_page_count=256)
    start = threading.Barrier(8)
    blocks: list[tuple[int, object]] = []

    def allocate() -> None:
        start.wait()
        for _ in range(30):
            block = suballocator.allocate(PAGE_SIZE)
            blocks.append((block.guest_ptr, block))

    threads = [threading.Thread(target=allocate) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({guest_ptr for guest_ptr, _ in blocks}) == 240
    assert all(guest_ptr % PAGE_SIZE == 0 for guest_ptr, _ in blocks)
    assert suballocator.statistics.used == 240 * PAGE_SIZE


@pytest.mark.parametrize("alignment", [64, 4096])
def test_a_signal_handler_finds_it_at_work(alignment: int, monkeypatch: pytest.MonkeyPatch) -> None:
    suballocator = make()
    uses: list[Callable[[], object]] = [
        lambda: suballocator.statistics,
        lambda: suballocator.allocate(10, alignment),
    ]
    refused: list[str] = []

    def handle(_number: int, _frame: object) -> None:
        for use in uses:
            with pytest.raises(InvocationError, match="a signal handler must leave") as caught:
                use()
            refused.append(caught.value.status)

    take = Suballocator._take

    def interrupted(self: Suballocator, size: int) -> int | None:
        signal.raise_signal(signal.SIGUSR1)
        return take(self, size)

    monkeypatch.setattr(Suballocator, "_take", interrupted)
    before = signal.signal(signal.SIGUSR1, handle)
    try:
        block = suballocator.allocate(100, alignment)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert refused == ["FAILED_PRECONDITION"] * 2
    assert block.guest_ptr % alignment == 0
    assert suballocator.statistics.used == 128


def test_a_signal_handler_may_count() -> None:
    counters = Counters()

    def count() -> None:
        with counters.lock:  # and a handler comes here, which copies bytes as well
            with counters.lock:
                counters.bytes_to_device += 1
            counters.bytes_to_device += 2

    thread = threading.Thread(target=count, daemon=True)
    thread.start()
    thread.join(30)
    assert counters.snapshot().bytes_to_device == 3


class Interrupt:
    """Ctrl-C, once, at one of the points of the allocator's code where Python delivers signals.

    These are the entries of its functions and what follows the calls of native ones.
    """

    def __init__(self, point: int) -> None:
        self._events_left = point
        self.was_raised = False

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        # What is raised in a __del__ is not heard of by anyone.
        if code.co_filename != suballocator.__file__ or code.co_name == "__del__":
            return
        if event not in ("call", "c_return"):
            return
        self._events_left -= 1
        if self._events_left < 0 and not self.was_raised:
            self.was_raised = True
            raise KeyboardInterrupt
        assert self._events_left > -10_000, "the allocation does not end"


def allocate_and_free(allocator: Suballocator, blocks: list[Block]) -> None:
    """Every way through the allocator: cached, merged, aligned and grown."""
    for size in (64, 64, 512, 4096):
        blocks.append(allocator.allocate(size))
    del blocks[-3:-1]
    blocks.append(allocator.allocate(512))
    blocks.append(allocator.allocate(100, 1024))
    del blocks[0]
    blocks.append(allocator.allocate(3 * PAGE_SIZE))
    del blocks[:2]
    blocks.append(allocator.allocate(2 * PAGE_SIZE + 64))
    assert allocator.statistics.used > 0


def test_interrupts_anywhere_lose_nothing() -> None:
    for point in itertools.count():
        allocator = make()
        blocks: list[Block] = []
        interrupt = Interrupt(point)
        previous = sys.getprofile()
        sys.setprofile(interrupt)
        try:
            with contextlib.suppress(KeyboardInterrupt):
                allocate_and_free(allocator, blocks)
            if not interrupt.was_raised:
                break
            sys.setprofile(interrupt)  # which an exception of its own ends
            allocate_and_free(allocator, blocks)
        finally:
            sys.setprofile(previous)
        taken = sorted((block.guest_ptr, block.byte_length) for block in blocks)
        assert all(start + size <= other for (start, size), (other, _) in pairwise(taken))
        assert allocator.statistics.used == sum(size for _, size in taken)
        blocks.clear()
        left = allocator.statistics
        assert (left.used, left.free_blocks, left.largest_free_block) == (0, 1, left.capacity)
    assert point > 100
