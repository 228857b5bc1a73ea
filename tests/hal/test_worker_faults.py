"""One of two workers fails where the test says, while the other is where the test says.

Kernels know their worker by the processor id, and the first thing that both do is to wait for each
other: so no case depends on who comes first, or on whether the second comes at all.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from available_engines import engine_names

import iree_wasm_hal as iwh
from iree_wasm_hal.engine.contract import Feature
from iree_wasm_hal.engine.known_engines import KNOWN_ENGINES
from iree_wasm_hal.engine.registry import open_engine
from iree_wasm_hal.hal.device import Device

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from iree_wasm_hal.hal.buffer import Buffer
    from iree_wasm_hal.hal.command_buffer import CommandBuffer
    from iree_wasm_hal.hal.executable import Executable

STOCK = "system-wasm-wasm_32"
REPEAT = 5
TIMEOUTS_S = (0.1, 1.0, 10.0)
"""The first is enough unless the machine is too busy for both workers to get there in time."""
LONG_S = 30.0
"""What would otherwise hang fails instead."""

_FLAGS = "(call $binding (local.get $dispatch) (i32.const 0))"
_OTHERS_FLAG = f"(i32.add {_FLAGS} (i32.shl (i32.xor (local.get $me) (i32.const 1)) (i32.const 2)))"
_FOR_EVER = "(loop $forever (br $forever))"
# Constant 0 names the worker that takes the first way.
_KERNEL = f"""(local $me i32)
  (local.set $me (i32.load offset=12 (local.get $workgroup)))
  (i32.atomic.store (i32.add {_FLAGS} (i32.shl (local.get $me) (i32.const 2))) (i32.const 1))
  (loop $meet (br_if $meet (i32.eqz (i32.atomic.load {_OTHERS_FLAG}))))
  (if (i32.eq (local.get $me) (call $constant (local.get $dispatch) (i32.const 0)))
    (then {{}}) (else {{}}))
  (i32.const 0)"""
KERNELS = {
    "trap": _KERNEL.format("(unreachable)", ""),
    "trap_beside_a_loop": _KERNEL.format("(unreachable)", _FOR_EVER),
    "fail": _KERNEL.format("(return (i32.const 9))", ""),
    "loop": _KERNEL.format(_FOR_EVER, ""),
    "good": _KERNEL.format("", ""),
}
ENGINES = [name for name in engine_names() if Feature.THREADS in KNOWN_ENGINES[name]]


@pytest.fixture(scope="module", params=ENGINES)
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    engine = open_engine(request.param)
    device = Device(engine, threads=2, max_memory_bytes=64 << 20, timeout=LONG_S)
    yield device
    device.close()
    engine.close()


@pytest.fixture(scope="module")
def executable(device: Device, make_module: Any, hand_kernel: Any) -> Executable:
    module: bytes = make_module(
        {
            name: hand_kernel(body, constant_count=1, binding_count=1)
            for name, body in KERNELS.items()
        }
    )
    return device.prepare_executable(STOCK, module)


@pytest.fixture
def flags(device: Device) -> Buffer:
    return device.allocator.allocate_buffer(8)


@pytest.fixture
def run(device: Device, executable: Executable, flags: Buffer) -> Callable[..., None]:
    """``run(*kernels, worker=...)``: one submission, with a barrier after each kernel."""

    def record(names: tuple[str, ...], worker: int) -> CommandBuffer:
        recorded = device.create_command_buffer(binding_capacity=1)
        for name in names:
            recorded.fill_buffer(None, 0, 0, 8, 0, 4)
            recorded.execution_barrier()
            function = executable.lookup_function(name)
            recorded.dispatch(executable, function, (2, 1, 1), [worker], [(0, None, 0, 8)])
            recorded.execution_barrier()
        recorded.finalize()
        return recorded

    def run_one(*names: str, worker: int) -> None:
        device.queue_execute(None, None, record(names, worker), [(flags, 0, 8)])

    return run_one


@pytest.fixture
def check_usable(run: Callable[..., None], flags: Buffer) -> Callable[[], None]:
    """Checks that both workers still take part."""

    def check() -> None:
        flags.view()[:] = bytes(8)
        run("good", worker=0)
        assert np.frombuffer(flags.view(), np.uint32).tolist() == [1, 1]

    return check


def end_in_time(device: Device, call: Callable[[], None], words: str) -> iwh.Error:
    """The error of a call that only a time-out ends, when both workers were where they belong."""
    for timeout in TIMEOUTS_S:
        device.timeout = timeout
        with pytest.raises(iwh.CallError) as caught:
            call()
        if words in str(caught.value):
            break
    device.timeout = LONG_S
    return caught.value


@pytest.mark.parametrize("worker", [0, 1])
def test_a_trap_on_one_worker(
    worker: int, run: Callable[..., None], check_usable: Callable[[], None]
) -> None:
    for _ in range(REPEAT):
        with pytest.raises(iwh.TrapError, match="kernel 'trap' trapped: unreachable"):
            run("good", "trap", "good", worker=worker)
        check_usable()


@pytest.mark.parametrize("worker", [0, 1])
def test_a_failure_on_one_worker(
    worker: int, run: Callable[..., None], check_usable: Callable[[], None]
) -> None:
    for _ in range(REPEAT):
        with pytest.raises(iwh.InvocationError, match="kernel 'fail' returned 9"):
            run("good", "fail", "good", worker=worker)
        check_usable()


@pytest.mark.parametrize("worker", [0, 1])
def test_a_time_out_while_the_other_worker_waits_at_the_barrier(
    worker: int, device: Device, run: Callable[..., None], check_usable: Callable[[], None]
) -> None:
    for _ in range(REPEAT):
        error = end_in_time(device, partial(run, "good", "loop", "good", worker=worker), "'loop'")
        assert isinstance(error, iwh.CallTimeoutError)
        assert "(in kernel 'loop')" in str(error)
        check_usable()


@pytest.mark.parametrize("worker", [0, 1])
def test_a_trap_beside_a_kernel_without_end(
    worker: int, device: Device, run: Callable[..., None], check_usable: Callable[[], None]
) -> None:
    """The trap is what the caller hears of, and the other worker's kernel is ended."""
    for _ in range(REPEAT):
        with pytest.raises(iwh.TrapError, match="trapped: unreachable"):
            run("trap_beside_a_loop", worker=worker)
        check_usable()


@pytest.mark.parametrize("worker", [0, 1])
def test_a_trap_where_nothing_can_be_interrupted(
    worker: int,
    executable: Executable,
    run: Callable[..., None],
    check_usable: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other worker waits at the barrier and finds out by itself."""

    def refuse(_instance: object) -> None:
        raise iwh.EngineError("this engine cannot")

    monkeypatch.setattr(type(executable.entries[0].instance), "interrupt", refuse)
    for _ in range(REPEAT):
        with pytest.raises(iwh.TrapError, match="kernel 'trap' trapped: unreachable"):
            run("good", "trap", "good", worker=worker)
        check_usable()
