"""Large blocks are for huge pages, the rest is not: by what the kernel says of the mappings."""

from __future__ import annotations

import mmap
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from iree_wasm_hal.engine import MemoryType
from iree_wasm_hal.hal.guest_memory import GuestMemory
from iree_wasm_hal.hal.suballocator import Suballocator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iree_wasm_hal.engine import Engine

MIB = 1 << 20
HUGE = 2 * MIB
SYSTEM = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def is_advised(address: int) -> bool:
    """Whether the mapping at an address has the flag that MADV_HUGEPAGE sets."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        bounds = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
        if bounds:
            inside = int(bounds[1], 16) <= address < int(bounds[2], 16)
        elif inside and line.startswith("VmFlags:"):
            return "hg" in line.split()
    raise AssertionError(f"nothing is mapped at {address:#x}")


pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(mmap, "MADV_HUGEPAGE") or not SYSTEM.exists(),
    reason="this system has no huge pages on request",
)


@pytest.fixture
def memory(engine: Engine) -> Iterator[GuestMemory]:
    memory = GuestMemory(engine, MemoryType(16, 1024))
    yield memory
    memory.close()


def base_of(memory: GuestMemory) -> int:
    base: int = memory.array.__array_interface__["data"][0]
    return base


def test_large_blocks_and_what_shares_their_pages(memory: GuestMemory) -> None:
    blocks = Suballocator(memory)
    before = [blocks.allocate(MIB) for _ in range(6)]
    large = blocks.allocate(8 * MIB)
    after = [blocks.allocate(MIB) for _ in range(6)]
    base = base_of(memory)
    start, end = base + large.guest_ptr, base + large.guest_ptr + 8 * MIB
    first, last = start // HUGE * HUGE, -(-end // HUGE) * HUGE
    for address in (start, start + 4 * MIB, end - 1):
        assert is_advised(address)
    for block in (*before, *after):
        for address in (base + block.guest_ptr, base + block.guest_ptr + MIB - 1):
            assert is_advised(address) == (first <= address < last)
    memory.array[large.guest_ptr : large.guest_ptr + 8 * MIB] = 7
    assert (memory.array[large.guest_ptr : large.guest_ptr + 8 * MIB] == 7).all()


def test_memory_grown_for_a_large_block_ends_with_a_huge_page(memory: GuestMemory) -> None:
    block = Suballocator(memory).allocate(9 * MIB + MIB // 2)
    end = block.guest_ptr + 9 * MIB + MIB // 2
    base = base_of(memory)
    # A memory grows by pages of 64 KiB, and some begin between two of them.
    assert -(-(base + end) // HUGE) * HUGE <= base + memory.array.nbytes
    assert memory.array.nbytes - end < HUGE + (64 << 10)
    assert is_advised(base + end - 1)
    assert memory.byte_length - end < 64 << 10, "the allocator takes what it asked for"


def test_no_growth_beyond_the_maximum(engine: Engine) -> None:
    memory = GuestMemory(engine, MemoryType(16, 80))
    Suballocator(memory).allocate(5 * MIB - MIB // 2)
    assert memory.array.nbytes == 80 << 16
    memory.close()
