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
    from iree_wasm_hal.engine import Engine

MIB = 1 << 20
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


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(mmap, "MADV_HUGEPAGE") or not SYSTEM.exists(),
    reason="this system has no huge pages on request",
)
def test_large_blocks_only(engine: Engine) -> None:
    memory = GuestMemory(engine, MemoryType(16, 1024))
    blocks = Suballocator(memory)
    base = memory.array.__array_interface__["data"][0]
    small = [blocks.allocate(MIB) for _ in range(5)]
    large = blocks.allocate(8 * MIB)
    after = blocks.allocate(MIB)
    for block in (*small, after):
        assert not is_advised(base + block.guest_ptr + MIB // 2)
    assert is_advised(base + large.guest_ptr + 4 * MIB)
    memory.array[large.guest_ptr : large.guest_ptr + 8 * MIB] = 7
    assert (memory.array[large.guest_ptr : large.guest_ptr + 8 * MIB] == 7).all()
    memory.close()
