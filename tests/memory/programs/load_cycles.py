"""Loads, calls and unloads a module many times, and compares resident memory at the end.

    python tests/memory/programs/load_cycles.py [--engines A,B] [--cycles 1000]

Each engine runs in a process of its own, twice: with a device for each module, and with one device
for all. It fails if more than 5 % was resident at the end than after cycle 50, pages of libraries
included. How much of the growth is pages of files is printed beside it.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import iree_wasm_hal as iwh
from iree_wasm_hal.engine import open_engine
from iree_wasm_hal.engine.listing import list_engines
from iree_wasm_hal.hal.device import Device

SETTLED_CYCLES = 50
ALLOWED_GROWTH = 0.05
MODES = ("own", "shared")
SOURCE = """
  func.func @main(%a: tensor<4x?xf32>, %b: tensor<?x16xf32>) -> tensor<4x16xf32> {
    %c = arith.constant dense<1.5> : tensor<4x16xf32>
    %0 = linalg.matmul ins(%a, %b : tensor<4x?xf32>, tensor<?x16xf32>)
      outs(%c : tensor<4x16xf32>) -> tensor<4x16xf32>
    return %0 : tensor<4x16xf32>
  }
"""


def resident() -> dict[str, int]:
    """Kilobytes: all that is resident, and what of it is pages of files."""
    gc.collect()  # it empties Python's free lists of tuples, which fill up over hundreds of cycles
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    kilobytes = {name: int(fields[name].split()[0]) for name in ("VmRSS", "RssFile")}
    return {"all": kilobytes["VmRSS"], "files": kilobytes["RssFile"]}


def run(engine_name: str, archive: str, mode: str, cycles: int) -> dict[str, object]:
    """Runs the cycles in this process.

    Args:
        engine_name: Entry-point name.
        archive: The compiled ``SOURCE``.
        mode: ``own`` or ``shared``, the device.
        cycles: More than ``SETTLED_CYCLES``.
    """
    a, b = np.full((4, 8), 2, np.float32), np.arange(128, dtype=np.float32).reshape(8, 16)
    expected = a @ b + 1.5
    engine = open_engine(engine_name)
    device = Device(engine) if mode == "shared" else None
    used = None if device is None else device.memory.used
    settled = {}
    for cycle in range(1, cycles + 1):
        with iwh.load(archive, engine=engine, device=device) as module:
            np.testing.assert_array_equal(module.main(a, b), expected)
        if cycle == SETTLED_CYCLES:
            settled = resident()
    if device is not None and device.memory.used != used:
        raise AssertionError(f"{device.memory.used} bytes are in use, not {used}")
    return {"engine": engine_name, "mode": mode, "settled": settled, "end": resident()}


def run_in_child(engine_name: str, archive: Path, mode: str, cycles: int) -> dict[str, object]:
    """Runs the cycles in a new process."""
    command = [sys.executable, __file__, "--child", engine_name, str(archive), mode, str(cycles)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"{engine_name}, {mode}: {done.stderr[-2000:]}")
    result: dict[str, object] = json.loads(done.stdout)
    return result


def growth(result: dict[str, object], what: str) -> float:
    """How much more of ``what`` there was at the end, as a share of all that was resident."""
    settled, end = result["settled"], result["end"]
    assert isinstance(settled, dict)
    assert isinstance(end, dict)
    return float(end[what] - settled[what]) / float(settled["all"])


def main() -> int:
    """The command."""
    if sys.argv[1:2] == ["--child"]:
        engine_name, path, mode, cycles = sys.argv[2:]
        print(json.dumps(run(engine_name, path, mode, int(cycles))))
        return 0
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--engines", help="names with commas between them; all by default")
    parser.add_argument("--cycles", type=int, default=1000)
    options = parser.parse_args()
    available = [each.name for each in list_engines() if each.cause is None and each.name != "null"]
    names = options.engines.split(",") if options.engines else available
    failed = False
    print("engine     device  after 50, MB      growth   of that files")
    with tempfile.TemporaryDirectory() as folder:
        archive = iwh.compile(SOURCE.encode(), output=Path(folder) / "m.vmfb", target="wasm32")
        for name in names:
            for mode in MODES:
                result = run_in_child(name, archive, mode, options.cycles)
                everything, files = growth(result, "all"), growth(result, "files")
                settled = result["settled"]
                assert isinstance(settled, dict)
                print(
                    f"{name:10} {mode:7} {settled['all'] / 1024:9.1f}     {everything:9.1%}"
                    f"  {files:12.1%}",
                    flush=True,
                )
                failed |= everything > ALLOWED_GROWTH
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
