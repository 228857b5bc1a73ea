"""What the allocator makes of a trace of real models (programs/record_trace.py)."""

from __future__ import annotations

import bisect
import gzip
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from iree_wasm_hal.engine import LOW_MEMORY_BYTE_LENGTH, MemoryType, open_engine
from iree_wasm_hal.hal.guest_memory import GuestMemory
from iree_wasm_hal.hal.suballocator import Suballocator

if TYPE_CHECKING:
    from iree_wasm_hal.hal.suballocator import Block

TRACE = Path(__file__).parent / "traces" / "ocr_and_magika.txt.gz"


@pytest.fixture(scope="module")
def trace() -> list[int]:
    """Byte lengths of allocations, and ~number for the end of one."""
    lines = gzip.decompress(TRACE.read_bytes()).decode().split()
    return [int(line[1:]) if line[0] == "+" else ~int(line[1:]) for line in lines]


class Replay:
    """Plays a trace, and looks at where blocks lie without asking the allocator."""

    def __init__(self) -> None:
        self.suballocator = Suballocator(GuestMemory(open_engine("wasmtime"), MemoryType(4, 65535)))
        self.highest_end = 0

    def play(self, trace: list[int]) -> int:
        """Plays it once; gives the most bytes that were live at a time."""
        blocks: dict[int, Block] = {}
        starts: list[int] = []
        ends: dict[int, int] = {}
        live = most = number = 0
        for event in trace:
            if event < 0:
                block = blocks.pop(~event)
                starts.remove(block.guest_ptr)
                live -= block.byte_length
                del block
                continue
            block = self.suballocator.allocate(event)
            start, end = block.guest_ptr, block.guest_ptr + block.byte_length
            place = bisect.bisect(starts, start)
            assert place == 0 or ends[starts[place - 1]] <= start
            assert place == len(starts) or end <= starts[place]
            starts.insert(place, start)
            ends[start] = end
            blocks[number] = block
            del block
            number += 1
            live += end - start
            most = max(most, live)
            self.highest_end = max(self.highest_end, end)
        assert blocks == {}
        return most


def test_real_models_fragment_little(trace: list[int]) -> None:
    replay = Replay()
    most = replay.play(trace)
    used = replay.highest_end - LOW_MEMORY_BYTE_LENGTH
    assert most > 30_000_000
    # 1.75 as recorded: a result that the caller holds lies where the next, larger buffers would.
    assert used <= 1.8 * most, used / most
    statistics = replay.suballocator.statistics
    assert (statistics.used, statistics.peak, statistics.free_blocks) == (0, most, 1)
    assert statistics.largest_free_block == statistics.capacity


def test_fragmentation_does_not_creep(trace: list[int]) -> None:
    replay = Replay()
    replay.play(trace)
    growths = replay.suballocator.statistics.growths
    for _ in range(3):
        replay.play(trace)
    assert replay.suballocator.statistics.growths == growths
