"""What loading took is given back: to the device, to the process and to the machine."""

from __future__ import annotations

import contextlib
import gc
import json
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
from load_cycles import ALLOWED_GROWTH, MODES, growth, run_in_child

import iree_wasm_hal as iwh
from iree_wasm_hal.engine import Feature, open_engine
from iree_wasm_hal.hal.device import Device

A, B = np.ones((4, 8), np.float32), np.ones((8, 16), np.float32)
pytestmark = pytest.mark.skipif(
    not Path("/proc/self/maps").exists(), reason="reads the kernel's figures in /proc"
)


@pytest.mark.parametrize("mode", MODES)
def test_memory_stays_flat_over_load_and_unload(
    engine_name: str, mode: str, matmul_archives: dict[str, Path]
) -> None:
    """The short version of load_cycles.py, which goes on to 1,000."""
    result = run_in_child(engine_name, matmul_archives["wasm32"], mode, 120)
    assert growth(result, "all") <= ALLOWED_GROWTH, result


@pytest.mark.parametrize("target", ["wasm32", "wasm64"])
def test_unused_memory_costs_nothing(
    engine_name: str, target: str, matmul_archives: dict[str, Path]
) -> None:
    max_memory_bytes = 2**32 - 65536 if target == "wasm32" else 2**34
    if target == "wasm64":
        with contextlib.closing(open_engine(engine_name)) as engine:
            if Feature.MEMORY64 not in engine.info.features:
                pytest.skip(f"{engine_name}: {engine.info.notes[Feature.MEMORY64]}")
    program = Path(__file__).parent / "programs" / "device_footprint.py"
    archive = matmul_archives[target]
    command = [sys.executable, str(program), engine_name, str(archive), str(max_memory_bytes)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures = json.loads(done.stdout)
    assert figures["right"]
    assert figures["limit"] == max_memory_bytes - 65536
    taken = figures["with"] - figures["before"]
    assert taken < archive.stat().st_size // 1024 + 100 * 1024, figures


def test_a_shared_device_gets_everything_back(
    engine_name: str, matmul_archives: dict[str, Path]
) -> None:
    engine = open_engine(engine_name)
    device = Device(engine)
    path = matmul_archives["wasm32"]
    held = iwh.load(path, device=device)
    held.main(A, B)
    before = device.memory
    for _ in range(5):
        with iwh.load(path, device=device) as module:
            result = module.main(A, B)
            assert device.memory.used > before.used
        np.testing.assert_array_equal(result, np.full((4, 16), 9.5))
        del result, module
    after = device.memory
    assert (after.used, after.growths) == (before.used, before.growths)
    np.testing.assert_array_equal(held.main(A, B), np.full((4, 16), 9.5))
    held.close()
    device.close()
    engine.close()


def test_a_closed_module_is_gone_at_once(
    engine_name: str, matmul_archives: dict[str, Path]
) -> None:
    engine = open_engine(engine_name)
    path = matmul_archives["wasm32"]
    gc.collect()
    gc.disable()
    try:
        module = iwh.load(path, engine=engine)
        result = module.main(A, B)
        device, context = weakref.ref(module.device._pool), weakref.ref(module._context)
        assert str(path) in Path("/proc/self/maps").read_text()
        module.close()
        del module
        assert (device(), context()) == (None, None)
        assert str(path) not in Path("/proc/self/maps").read_text()
        np.testing.assert_array_equal(result, np.full((4, 16), 9.5))  # it keeps the memory
    finally:
        gc.enable()
        engine.close()
