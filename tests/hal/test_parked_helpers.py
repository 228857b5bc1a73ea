"""Helpers that wait in wasm: they hold nothing for long and trust nothing in linear memory."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from available_engines import engine_names

import iree_wasm_hal as iwh
from iree_wasm_hal.engine.contract import Feature
from iree_wasm_hal.engine.known_engines import KNOWN_ENGINES
from iree_wasm_hal.engine.registry import open_engine
from iree_wasm_hal.hal.device import Device
from iree_wasm_hal.hal.helpers import Helpers
from iree_wasm_hal.hal.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from iree_wasm_hal.hal.executable import Executable
    from iree_wasm_hal.hal.suballocator import Block

STOCK = "system-wasm-wasm_32"
WORKGROUPS = 64
LONG_S = 30.0
ENGINES = [name for name in engine_names() if Feature.THREADS in KNOWN_ENGINES[name]]

_OUT = "(call $binding (local.get $dispatch) (i32.const 0))"
# Stores the worker's index; both workers come, because each waits for the other.
BOTH = f"""(local $me i32)
  (local.set $me (i32.load offset=12 (local.get $workgroup)))
  (i32.atomic.store (i32.add {_OUT} (i32.shl (local.get $me) (i32.const 2))) (i32.const 1))
  (loop $meet (br_if $meet
    (i32.eqz (i32.atomic.load
      (i32.add {_OUT} (i32.shl (i32.xor (local.get $me) (i32.const 1)) (i32.const 2)))))))
  (i32.const 0)"""
# Writes constant 1 at every word from constant 0 up to constant 2.
SCRIBBLE = """(local $at i32)
  (local.set $at (call $constant (local.get $dispatch) (i32.const 0)))
  (loop $next
    (i32.atomic.store (local.get $at) (call $constant (local.get $dispatch) (i32.const 1)))
    (local.set $at (i32.add (local.get $at) (i32.const 4)))
    (br_if $next (i32.lt_u (local.get $at)
                           (call $constant (local.get $dispatch) (i32.const 2)))))
  (i32.const 0)"""


@pytest.fixture(params=ENGINES)
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    engine = open_engine(request.param)
    device = Device(engine, threads=2, max_memory_bytes=64 << 20, timeout=LONG_S)
    yield device
    device.close()
    engine.close()


@pytest.fixture
def load(device: Device, make_module: Any, hand_kernel: Any) -> Callable[[], Executable]:
    module: bytes = make_module(
        {
            "both": hand_kernel(BOTH, binding_count=1),
            "scribble": hand_kernel(SCRIBBLE, constant_count=3),
        }
    )
    return lambda: device.prepare_executable(STOCK, module)


def run_both(device: Device, executable: Executable) -> list[int]:
    out = device.allocator.upload(np.zeros(2, np.uint32))
    recorded = device.create_command_buffer(binding_capacity=1)
    recorded.dispatch(executable, 0, (WORKGROUPS, 1, 1), [], [(0, None, 0, 8)])
    recorded.finalize()
    device.queue_execute(None, None, recorded, [(out, 0, 8)])
    return [int(each) for each in out.ndarray((2,), np.dtype("uint32"))]


def test_an_unloaded_module_is_left(device: Device, load: Callable[[], Executable]) -> None:
    executable = load()
    assert run_both(device, executable) == [1, 1]
    gone = threading.Event()
    weakref.finalize(executable.entries[1].instance, gone.set)
    del executable
    assert gone.wait(LONG_S)


def test_helpers_go_from_module_to_module(device: Device, load: Callable[[], Executable]) -> None:
    executables = [load() for _ in range(3)]
    for _ in range(20):
        for executable in executables:
            assert run_both(device, executable) == [1, 1]


def test_submissions_cost_one_call(device: Device, load: Callable[[], Executable]) -> None:
    executable = load()
    before = device.statistics
    for _ in range(10):
        run_both(device, executable)
    after = device.statistics
    assert after.submissions - before.submissions == 10
    assert after.engine_calls - before.engine_calls == 10


def test_a_late_helper_gets_the_new_local_memory(
    device: Device, make_module: Any, hand_kernel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes for a submission that is over, while the next one needs more local memory."""
    kernels = {
        "none": hand_kernel("(i32.const 0)", binding_count=1),
        "some": hand_kernel("(i32.const 0)", binding_count=1, local_memory_pages=4),
        "both": hand_kernel(BOTH, binding_count=1, local_memory_pages=4),
    }
    executable = device.prepare_executable(STOCK, make_module(kernels))
    out = device.allocator.upload(np.zeros(2, np.uint32))

    def run(function: int) -> None:
        recorded = device.create_command_buffer(binding_capacity=1)
        recorded.dispatch(executable, function, (2, 1, 1), [], [(0, None, 0, 8)])
        recorded.finalize()
        device.queue_execute(None, None, recorded, [(out, 0, 8)])

    is_late, goes_on = threading.Event(), threading.Event()
    make_header, set_memory, evict = Worker._make_header, Worker.set_local_memory, Helpers.evict

    def make_header_late(worker: Worker, executable_index: int) -> bytes:
        header = make_header(worker, executable_index)
        if worker.index == 1 and not goes_on.is_set():
            is_late.set()
            goes_on.wait(LONG_S)
            worker._headers[executable_index] = header
        return header

    def set_memory_then_go_on(worker: Worker, block: Block) -> None:
        set_memory(worker, block)
        if worker.index == 1:
            goes_on.set()

    def go_on_then_evict(helpers: Helpers) -> None:
        goes_on.set()
        evict(helpers)

    monkeypatch.setattr(Worker, "_make_header", make_header_late)
    monkeypatch.setattr(Worker, "set_local_memory", set_memory_then_go_on)
    monkeypatch.setattr(Helpers, "evict", go_on_then_evict)
    for _ in range(1000):
        run(0)
        if is_late.wait(0.03):
            break
    run(1)
    run(2)
    assert out.ndarray((2,), np.dtype("uint32")).tolist() == [1, 1]


FORK = """
import os, sys
import numpy as np
import iree_wasm_hal as iwh
from iree_wasm_hal.engine.registry import open_engine
from iree_wasm_hal.hal.device import Device

device = Device(open_engine(sys.argv[1]), threads=2, max_memory_bytes=64 << 20, cache=False)
executable = device.prepare_executable("system-wasm-wasm_32", open(sys.argv[2], "rb").read())
recorded = device.create_command_buffer(binding_capacity=1)
recorded.dispatch(executable, 0, (64, 1, 1), [], [(0, None, 0, 64)])
recorded.finalize()

def run():
    out = device.allocator.upload(np.zeros(64, np.uint8))
    device.queue_execute(None, None, recorded, [(out, 0, 64)])
    return out.ndarray((64,), np.dtype("uint8")).tolist() == [1] * 64

assert all(run() for _ in range(5))
if not (child := os.fork()):
    right = all(run() for _ in range(5))
    device.close()
    os._exit(not right)
print(os.waitpid(child, 0)[1], run())
device.close()
"""
ONES = f"""(i32.store8 (i32.add {_OUT} (i32.load (local.get $workgroup))) (i32.const 1))
  (i32.const 0)"""


@pytest.mark.parametrize("name", ENGINES)
def test_a_forked_child_goes_on_alone(
    name: str, make_module: Any, hand_kernel: Any, tmp_path: Path
) -> None:
    module = tmp_path / "ones.wasm"
    module.write_bytes(make_module({"ones": hand_kernel(ONES, binding_count=1)}))
    command = [sys.executable, "-c", FORK, name, str(module)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout.split(), done.stderr) == (["0", "True"], "")


@pytest.mark.parametrize("value", [0, 1, 0x7FFF_FFF0, 0xFFFF_FFFF])
@pytest.mark.parametrize("part", ["mailbox", "worker blocks", "all"])
def test_kernels_that_write_over_the_workers_state(
    part: str, value: int, device: Device, load: Callable[[], Executable]
) -> None:
    executable = load()
    assert run_both(device, executable) == [1, 1]
    ranges = {
        "mailbox": (device._pool._helpers.mailbox_ptr, 128),  # type: ignore[union-attr]
        "worker blocks": (device._pool.workers[1].block_ptr, 1024),
    }
    device.timeout = 0.5
    for start, byte_length in [ranges[part]] if part in ranges else ranges.values():
        recorded = device.create_command_buffer()
        constants = [start, value, start + byte_length]
        recorded.dispatch(executable, 1, (WORKGROUPS, 1, 1), constants, [])
        recorded.finalize()
        # What comes out is nobody's promise, but that it is an error of ours or nothing.
        with contextlib.suppress(iwh.CallError):
            device.queue_execute(None, None, recorded, [])
    # The first calls may still meet what was written: an error makes the host write it anew.
    for _ in range(3):
        with contextlib.suppress(iwh.CallError):
            run_both(device, executable)
    device.timeout = LONG_S
    assert run_both(device, executable) == [1, 1]


# Worker 0 traps; worker 1 goes on without end.
TRAP_BESIDE_A_LOOP = (
    BOTH.removesuffix("(i32.const 0)")
    + """(if (local.get $me) (then (loop $forever (br $forever))))
  (unreachable)"""
)


def test_ctrl_c_while_helpers_are_waited_for(
    device: Device, make_module: Any, hand_kernel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is raised when they are out: the next call's memory is not theirs to write to."""
    kernels = {
        "both": hand_kernel(BOTH, binding_count=1),
        "trap": hand_kernel(TRAP_BESIDE_A_LOOP, binding_count=1),
    }
    executable = device.prepare_executable(STOCK, make_module(kernels))
    assert run_both(device, executable) == [1, 1]
    drive_out, waits = Helpers._drive_out, []

    def drive_out_until_ctrl_c(helpers: Helpers) -> None:
        waits.append(helpers)
        if len(waits) == 1:
            raise KeyboardInterrupt
        drive_out(helpers)

    monkeypatch.setattr(Helpers, "_drive_out", drive_out_until_ctrl_c)
    recorded = device.create_command_buffer(binding_capacity=1)
    recorded.dispatch(executable, 1, (2, 1, 1), [], [(0, None, 0, 8)])
    recorded.finalize()
    out = device.allocator.upload(np.zeros(2, np.uint32))
    with pytest.raises(KeyboardInterrupt):
        device.queue_execute(None, None, recorded, [(out, 0, 8)])
    assert len(waits) > 1
    for _ in range(3):
        assert run_both(device, executable) == [1, 1]
