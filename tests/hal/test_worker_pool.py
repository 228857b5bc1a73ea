"""Several workers on one submission: who takes part, and what happens when one fails."""

from __future__ import annotations

import gc
import re
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from iree_wasm_hal.engine.contract import EngineInfo, Feature
from iree_wasm_hal.errors import (
    EngineError,
    InterruptedCallError,
    InvocationError,
    TrapError,
)
from iree_wasm_hal.hal.device import Device
from iree_wasm_hal.hal.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from iree_wasm_hal.engine.contract import Engine
    from iree_wasm_hal.hal.command_buffer import CommandBuffer
    from iree_wasm_hal.hal.executable import Executable
    from iree_wasm_hal.hal.submission import Submission

STOCK = "system-wasm-wasm_32"
U8 = np.dtype("uint8")
WORKGROUPS = 64

# Stores the worker's index as processor id, after a while.
WHO = """(local $i i32)
  (loop $spin
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br_if $spin (i32.lt_u (local.get $i) (i32.const 1000000))))
  (i32.store8
    (i32.add (call $binding (local.get $dispatch) (i32.const 0))
             (i32.load (local.get $workgroup)))
    (i32.load offset=12 (local.get $workgroup)))
  (i32.const 0)"""
# Does something at the workgroup that constant 0 names.
AT = """(if (i32.eq (i32.load (local.get $workgroup))
                    (call $constant (local.get $dispatch) (i32.const 0))) (then {}))
  (i32.const 0)"""
FAULTS = {
    "trap": "(unreachable)",
    "return": "(return (i32.const 9))",
    "overflow": "(i32.store (i32.sub (global.get $sp) (i32.const 1048576)) (i32.const 1))",
}


@pytest.fixture(scope="module", params=[1, 2, 4])
def threads(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def device(engine: Engine, threads: int) -> Iterator[Device]:
    before = set(threading.enumerate())
    device = Device(engine, threads=threads, max_memory_bytes=64 << 20)
    yield device
    device.close()
    # Only the workers: an engine may keep a thread of its own for a while.
    started = {thread.name for thread in set(threading.enumerate()) - before}
    assert not {name for name in started if re.fullmatch(r"iree-wasm-\d+", name)}


@pytest.fixture(scope="module")
def executable(device: Device, make_module: Any, hand_kernel: Any) -> Executable:
    kernels = {
        name: hand_kernel(AT.format(body), constant_count=1) for name, body in FAULTS.items()
    }
    kernels["who"] = hand_kernel(WHO, binding_count=1)
    kernels["endless"] = hand_kernel("(loop $forever (br $forever)) (i32.const 0)")
    module: bytes = make_module(kernels)
    return device.prepare_executable(STOCK, module)


def record(device: Device, executable: Executable, name: str, *constants: int) -> CommandBuffer:
    recorded = device.create_command_buffer(binding_capacity=1)
    function = executable.lookup_function(name)
    bindings = [(0, None, 0, WORKGROUPS)] * executable.export(function).binding_count
    recorded.dispatch(executable, function, (WORKGROUPS, 1, 1), constants, bindings)
    recorded.finalize()
    return recorded


def who_works(device: Device, executable: Executable) -> set[int]:
    out = device.allocator.upload(np.full(WORKGROUPS, 255, U8))
    recorded = record(device, executable, "who")
    device.queue_execute(None, None, recorded, [(out, 0, WORKGROUPS)])
    return set(out.ndarray((WORKGROUPS,), U8).tolist())


def test_every_worker_takes_part(device: Device, executable: Executable, threads: int) -> None:
    seen: set[int] = set()
    for _ in range(50):
        now = who_works(device, executable)
        assert now <= set(range(threads))
        seen |= now
        if len(seen) == threads:
            break
    assert seen == set(range(threads))


def test_single_workgroups_wake_nobody(device: Device, executable: Executable) -> None:
    recorded = device.create_command_buffer(binding_capacity=1)
    function = executable.lookup_function("who")
    recorded.dispatch(executable, function, (1, 1, 1), (), [(0, None, 0, 1)])
    recorded.finalize()
    out = device.allocator.upload(np.zeros(1, U8))
    calls = device.statistics.engine_calls
    for _ in range(5):
        device.queue_execute(None, None, recorded, [(out, 0, 1)])
    assert device.statistics.engine_calls == calls + 5


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_any_workgroup_is_one_error(
    fault: str, device: Device, executable: Executable, threads: int
) -> None:
    expected: dict[str, tuple[type[Exception], str]] = {
        "trap": (TrapError, "kernel 'trap' trapped: unreachable"),
        "return": (InvocationError, "kernel 'return' returned 9 in workgroup {},0,0"),
        "overflow": (TrapError, "overflowed their stack"),
    }
    error, message = expected[fault]
    for at in range(WORKGROUPS):
        with pytest.raises(error, match=message.format(at)):
            device.queue_execute(None, None, record(device, executable, fault, at))
    device.queue_execute(None, None, record(device, executable, fault, WORKGROUPS))
    assert who_works(device, executable) <= set(range(threads))


def test_a_time_out_ends_all_workers(device: Device, executable: Executable, threads: int) -> None:
    device.timeout = 0.05
    for _ in range(3):
        with pytest.raises(InterruptedCallError, match="timeout"):
            device.queue_execute(None, None, record(device, executable, "endless"))
    device.timeout = None
    assert who_works(device, executable) <= set(range(threads))


def test_cancel_ends_all_workers(device: Device, executable: Executable, threads: int) -> None:
    raised: list[type[Exception]] = []

    def run() -> None:
        with pytest.raises(InterruptedCallError) as caught:
            device.queue_execute(None, None, record(device, executable, "endless"))
        raised.append(caught.type)

    thread = threading.Thread(target=run)
    thread.start()
    while thread.is_alive():
        device.cancel()
        thread.join(0.01)
    assert raised == [InterruptedCallError]
    assert who_works(device, executable) <= set(range(threads))


def test_a_cancel_that_comes_too_late_ends_no_later_submission(
    device: Device, executable: Executable, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A helper may meet an interruption only when it has joined what comes next: it must leave."""
    helpers = device._pool.workers[1:]
    run = Worker.run
    were_parked = False

    def run_and_cancel(worker: Worker, submission: Submission, mailbox_ptr: int = 0) -> int | None:
        nonlocal were_parked
        result = run(worker, submission, mailbox_ptr)
        instances = [one.running for one in helpers if one.running is not None]
        were_parked = bool(instances)
        with monkeypatch.context() as slow:
            for kind in {type(one) for one in instances}:
                slow.setattr(kind, "interrupt", lambda _: None)  # a helper that does not get to run
            device.cancel()
        return result

    monkeypatch.setattr(Worker, "run", run_and_cancel)
    for _ in range(50):
        who_works(device, executable)
        assert all(one.running is None for one in helpers)
        if were_parked or threads == 1:
            break
        monkeypatch.setattr(Worker, "run", run)
        who_works(device, executable)  # whoever helps parks
        monkeypatch.setattr(Worker, "run", run_and_cancel)
    assert were_parked == (threads > 1)


def test_nothing_is_kept_after_a_submission(device: Device, executable: Executable) -> None:
    gc.collect()
    used = device.allocator.statistics.used
    who_works(device, executable)
    gc.collect()
    assert device.allocator.statistics.used == used


def test_callers_on_many_threads_get_their_own_results(
    device: Device, executable: Executable, threads: int
) -> None:
    wrong: list[object] = []

    def hammer() -> None:
        for _ in range(10):
            if not who_works(device, executable) <= set(range(threads)):
                wrong.append(threading.current_thread())

    callers = [threading.Thread(target=hammer) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert not wrong


def test_threads_end_with_the_device(engine: Engine) -> None:
    before = set(threading.enumerate())
    device = Device(engine, threads=3)
    helpers = set(threading.enumerate()) - before
    assert {helper.name for helper in helpers} == {"iree-wasm-1", "iree-wasm-2"}
    del device
    gc.collect()
    for helper in helpers:
        helper.join(10)
        assert not helper.is_alive()


def test_threads_need_an_engine_that_has_them(engine: Engine) -> None:
    class OneThread:
        info = EngineInfo(
            "lonely",
            "2.0",
            "",
            engine.info.memory_model,
            engine.info.features - {Feature.THREADS, Feature.ATOMICS},
            dict.fromkeys((Feature.THREADS, Feature.ATOMICS), "one isolate is one thread"),
        )
        artifact_key = None

        def __getattr__(self, name: str) -> Callable[..., Any]:
            attribute: Callable[..., Any] = getattr(engine, name)
            return attribute

    with pytest.raises(
        EngineError, match=r"lonely 2\.0 lacks threads, atomics \(one isolate is one thread\)"
    ):
        Device(OneThread(), threads=2)
