"""Helpers that sleep in wasm are woken when a call begins whose work they are likely to share."""

from __future__ import annotations

import struct
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from available_engines import engine_names

import iree_wasm_hal as iwh
from iree_wasm_hal.engine.contract import Feature
from iree_wasm_hal.engine.known_engines import KNOWN_ENGINES
from iree_wasm_hal.engine.registry import open_engine
from iree_wasm_hal.errors import InterruptedCallError
from iree_wasm_hal.hal.device import Device
from iree_wasm_hal.hal.helpers import Helpers
from iree_wasm_hal.wasm.stream_mailbox import MAILBOX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from iree_wasm_hal.hal.executable import Executable

STOCK = "system-wasm-wasm_32"
ENGINES = [name for name in engine_names() if Feature.THREADS in KNOWN_ENGINES[name]]
LONG_S = 30.0
SLICE_S = 0.02
"""Of a helper's sleep."""
FOR_EVER = 1 << 28
# A workgroup stores its number: all of them ran.
NUMBERS = """
  (i32.store8
    (i32.add (call $binding (local.get $dispatch) (i32.const 0)) (i32.load (local.get $workgroup)))
    (i32.load (local.get $workgroup)))
  (i32.const 0)"""
SOURCE = """
func.func @many(%a: tensor<8192xf32>) -> tensor<8192xf32> {
  %0 = arith.addf %a, %a : tensor<8192xf32>
  return %0 : tensor<8192xf32>
}
func.func @one(%a: tensor<4xf32>) -> tensor<4xf32> {
  %0 = arith.addf %a, %a : tensor<4xf32>
  return %0 : tensor<4xf32>
}
"""
MANY, ONE = np.ones(8192, np.float32), np.ones(4, np.float32)


class Mailbox:
    """The device's, as it stands in linear memory."""

    def __init__(self, device: Device) -> None:
        assert device._pool._helpers is not None
        self._view = device._memory.view
        self._start = device._pool._helpers.mailbox_ptr

    def __getitem__(self, field: str) -> int:
        start = self._start + MAILBOX.offset(field)
        return int(struct.unpack_from("<I", self._view, start)[0])

    def __setitem__(self, field: str, value: int) -> None:
        struct.pack_into("<I", self._view, self._start + MAILBOX.offset(field), value)

    def shows(self, sleeper_count: int, times: int = 1000) -> bool:
        """Whether so many helpers sleep, and go on to: now, or within a while."""
        due, seen = time.monotonic() + LONG_S, 0
        while seen < times:
            seen = seen + 1 if self["sleeper_count"] == sleeper_count else 0
            if time.monotonic() > due:
                return False
        return True


@pytest.fixture(params=ENGINES)
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    engine = open_engine(request.param)
    device = Device(engine, threads=2, max_memory_bytes=64 << 20, timeout=LONG_S)
    device._pool._helpers._patience = (1, 1 << 20)  # type: ignore[union-attr]  # asleep at once
    yield device
    device.close()
    engine.close()


@pytest.fixture
def executable(device: Device, make_module: Any, hand_kernel: Any) -> Executable:
    module = make_module({"numbers": hand_kernel(NUMBERS, binding_count=1)})
    return device.prepare_executable(STOCK, module)


def run(device: Device, executable: Executable) -> list[int]:
    out = device.allocator.upload(np.zeros(64, np.uint8))
    recorded = device.create_command_buffer(binding_capacity=1)
    recorded.dispatch(executable, 0, (64, 1, 1), [], [(0, None, 0, 64)])
    recorded.finalize()
    device.queue_execute(None, None, recorded, [(out, 0, 64)])
    return [int(each) for each in out.ndarray((64,), np.dtype("uint8"))]


def asleep(device: Device, executable: Executable) -> Mailbox:
    """The mailbox that the helper sleeps at."""
    mailbox = Mailbox(device)
    while not mailbox["sleeper_count"]:
        assert run(device, executable) == [*range(64)]  # it may be over before a helper comes
    assert mailbox.shows(sleeper_count=1)
    return mailbox


def test_a_sleeper_is_woken_and_stays_awake(device: Device, executable: Executable) -> None:
    mailbox = asleep(device, executable)
    mailbox["spin_limit"] = FOR_EVER
    threading.Event().wait(3 * SLICE_S)
    assert mailbox.shows(sleeper_count=1), "the time-outs of its sleep do not keep it awake"
    device.rouse_helpers()
    assert mailbox.shows(sleeper_count=0)
    assert run(device, executable) == [*range(64)]


def test_one_that_was_woken_in_vain_sleeps_again(device: Device, executable: Executable) -> None:
    mailbox = asleep(device, executable)
    for _ in range(10):
        device.rouse_helpers()
        assert mailbox.shows(sleeper_count=1)
    assert run(device, executable) == [*range(64)]


def test_one_that_was_woken_leaves_when_the_device_closes(
    device: Device, executable: Executable
) -> None:
    mailbox = asleep(device, executable)
    mailbox["spin_limit"] = FOR_EVER
    device.rouse_helpers()
    assert mailbox.shows(sleeper_count=0)
    device.close()
    device.rouse_helpers()


@pytest.fixture
def roused(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Filled with what helpers are told."""
    calls: list[object] = []
    monkeypatch.setattr(Helpers, "are_asleep", True)
    monkeypatch.setattr(Helpers, "rouse", lambda _self, entry: calls.append(entry))
    return calls


def test_nobody_is_woken_before_something_was_shared(
    device: Device, executable: Executable, roused: list[object]
) -> None:
    device.rouse_helpers()
    assert not roused
    run(device, executable)
    device.rouse_helpers()
    assert roused == [executable.entries[0]]


def test_nobody_is_woken_by_a_module_that_is_gone(
    device: Device, make_module: Any, hand_kernel: Any, roused: list[object]
) -> None:
    module = make_module({"numbers": hand_kernel(NUMBERS, binding_count=1)})
    executable = device.prepare_executable(STOCK, module)
    run(device, executable)
    del executable
    device.rouse_helpers()
    assert not roused


@pytest.mark.parametrize("which", ["device", "memory"])
@pytest.mark.parametrize("whose", ["this thread's", "another's"])
def test_a_busy_device_is_left_alone(
    which: str, whose: str, device: Device, executable: Executable, roused: list[object]
) -> None:
    """Also by this very thread, as a signal handler's call may find it."""
    run(device, executable)
    lock = device._scheduler.lock if which == "device" else device._memory.in_use
    if whose == "this thread's":
        with lock:
            device.rouse_helpers()
    else:
        with lock:
            thread = threading.Thread(target=device.rouse_helpers)
            thread.start()
            thread.join()
    assert not roused
    device.rouse_helpers()
    assert len(roused) == 1


@pytest.mark.parametrize("error", [InterruptedCallError("late"), KeyboardInterrupt()])
def test_whatever_ends_it_the_device_goes_on(
    error: BaseException,
    device: Device,
    executable: Executable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run(device, executable)

    def fail(*_arguments: object) -> None:
        raise error

    monkeypatch.setattr(Helpers, "are_asleep", True)
    monkeypatch.setattr(Helpers, "rouse", fail)
    if isinstance(error, InterruptedCallError):
        device.rouse_helpers()
    else:
        with pytest.raises(KeyboardInterrupt):
            device.rouse_helpers()
    results: list[list[int]] = []
    thread = threading.Thread(target=lambda: results.append(run(device, executable)), daemon=True)
    thread.start()
    thread.join(LONG_S)
    assert results == [[*range(64)]]


def test_a_forked_child_wakes_nobody(
    device: Device, executable: Executable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its memory a sleeper may still be counted, and the engine's list of them be locked."""
    run(device, executable)
    entry = executable.entries[0]
    calls: list[int] = []
    monkeypatch.setattr(entry, "rouse", calls.append)
    Mailbox(device)["sleeper_count"] = 5
    with monkeypatch.context() as child:
        child.setattr(Helpers, "are_here", property(lambda _self: False))
        device.rouse_helpers()
    assert calls == []
    device.rouse_helpers()
    assert len(calls) == 1


@pytest.mark.parametrize("threaded", ENGINES[:1])  # what a call does before the engine
def test_calls_wake_helpers_where_the_call_before_shared(
    threaded: str, compile_wasm: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    now, roused = "", list[str]()
    monkeypatch.setattr(Device, "rouse_helpers", lambda _self: roused.append(now))
    with iwh.load(compile_wasm(SOURCE), engine=threaded, threads=2) as module:
        for now in ("one", "many", "one", "many", "one"):
            argument = MANY if now == "many" else ONE
            assert module[now](argument).tolist() == (argument * 2).tolist()
    assert roused == ["many"]


@pytest.mark.parametrize("threaded", ENGINES[:1])  # what a call does before the engine
def test_calls_without_helpers_wake_nobody(
    threaded: str, compile_wasm: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Device, "rouse_helpers", None)
    with iwh.load(compile_wasm(SOURCE), engine=threaded) as module:
        for _ in range(2):
            assert module["many"](MANY).tolist() == (MANY * 2).tolist()
