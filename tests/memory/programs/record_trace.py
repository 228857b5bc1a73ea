"""Records what real models ask of the allocator, for tests/memory/test_fragmentation.py.

    python tests/memory/programs/record_trace.py OUTPUT.txt.gz

One device, two models of PyPI packages: PP-OCR's text recognition, compiled for any width, on text
lines of changing widths, and Magika, which comes and goes. The caller holds the last two results.
Each line is ``+BYTES`` for an allocation or ``-NUMBER`` for the end of an earlier one, from 0.
"""

from __future__ import annotations

import gzip
import random
import sys
from collections import deque
from pathlib import Path
from unittest import mock

import numpy as np
from model_files import compiled, package_file

import iree_wasm_hal as iwh
from iree_wasm_hal.hal.device import Device
from iree_wasm_hal.hal.suballocator import ALIGNMENT, Block, Suballocator

_CALLS = 16


class _Recorder:
    """Writes down the blocks of one device."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.count = 0
        self._numbers: dict[int, int] = {}  # address of a live block -> its number

    def begin(self, block: Block) -> None:
        self.lines.append(f"+{block.byte_length}")
        self._numbers[block.guest_ptr] = self.count
        self.count += 1

    def end(self, block: Block) -> None:
        self.lines.append(f"-{self._numbers.pop(block.guest_ptr)}")


def main() -> None:
    """The command."""
    recorder = _Recorder()
    allocate, end = Suballocator.allocate, Block.__del__

    def recorded_allocate(
        suballocator: Suballocator, byte_length: int, alignment: int = ALIGNMENT
    ) -> Block:
        block = allocate(suballocator, byte_length, alignment)
        recorder.begin(block)
        return block

    def recorded_end(block: Block) -> None:
        recorder.end(block)  # while nobody else can have the address
        end(block)

    with (
        mock.patch.object(Suballocator, "allocate", recorded_allocate),
        mock.patch.object(Block, "__del__", recorded_end),
    ):
        _run(random.Random(6))
    Path(sys.argv[1]).write_bytes(gzip.compress("\n".join(recorder.lines).encode(), mtime=0))
    print(f"{recorder.count} allocations")


def _run(rng: random.Random) -> None:
    lines = compiled(package_file("rapidocr_onnxruntime", "models/ch_PP-OCRv4_rec_infer.onnx"))
    files = compiled(package_file("magika", "models/standard_v3_3/model.onnx"))
    engine = iwh.open_engine("wasmtime")
    device = Device(engine)
    held: deque[object] = deque(maxlen=2)
    with iwh.load(lines, device=device) as recognition:
        for number in range(_CALLS):
            width = 8 * rng.randrange(8, 60)
            held.append(recognition["main"](np.zeros((1, 3, 48, width), np.float32)))
            if number % 4 == 2:
                with iwh.load(files, device=device) as identification:
                    held.append(identification["main"](np.zeros((1, 2048), np.int32)))
    held.clear()


if __name__ == "__main__":
    main()
