"""V8's compilers: which of them come into memory, and that they do so when the engine is opened."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import wasmtime
from iree_wasm_hal_v8 import warm_up

LARGEST_GROWTH_KB = 1024
"""A compiler is 2 MB of code and more; kernels of other kinds need some more pages of it."""

PREAMBLE = """
import json
from pathlib import Path
from iree_wasm_hal.engine import MemoryType, open_engine
from iree_wasm_hal.engine.conformance.suite import load_module

def library_kilobytes():
    total, of_library = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if line.endswith(".so") or " 00:00 0" in line:
            of_library = line.endswith("libmini_racer.so")
        elif of_library and line.startswith("Rss:"):
            total += int(line.split()[1])
    return total

engine = open_engine("v8")
wasm = load_module("loops")

def cycle(engine, memory, count):
    instance = engine.instantiate(engine.compile(wasm), memory)
    instance.function("spin")(0, count)
    instance.close()
"""
LOADED = """
memory = engine.create_memory(MemoryType(1, 16))
for number in range(600):
    cycle(engine, memory, 1)
    if number == 20:
        before = library_kilobytes()
print(json.dumps([before, library_kilobytes()]))
"""
OPTIMISED = """
memory = engine.create_memory(MemoryType(1, 16))
for number in range(3):
    cycle(engine, memory, 1)
before = library_kilobytes()
for number in range(3):
    cycle(engine, memory, 2_000_000)
print(json.dumps([before, library_kilobytes()]))
"""


def test_warm_up_module_is_its_text() -> None:
    assert bytes(wasmtime.wat2wasm(warm_up.TEXT)) == warm_up.WASM


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="reads the kernel's figures")
@pytest.mark.parametrize("code", [LOADED, OPTIMISED], ids=["loaded", "optimised"])
def test_no_compiler_comes_later(code: str) -> None:
    command = [sys.executable, "-c", PREAMBLE + code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    before, after = json.loads(done.stdout)
    assert before > 0
    assert after - before < LARGEST_GROWTH_KB
