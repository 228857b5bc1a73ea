"""Kernels that misbehave, memory that runs out, devices that are closed."""

from __future__ import annotations

import gc
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from iree_wasm_hal.errors import (
    ArgumentError,
    ClosedError,
    EngineError,
    Error,
    InterruptedCallError,
    InvocationError,
    LimitError,
    TrapError,
)
from iree_wasm_hal.hal import suballocator
from iree_wasm_hal.hal.device import Device
from iree_wasm_hal.hal.fence import Fence
from iree_wasm_hal.hal.guest_memory import GuestMemory

if TYPE_CHECKING:
    from collections.abc import Callable

    from iree_wasm_hal.engine.contract import Engine
    from iree_wasm_hal.hal.command_buffer import CommandBuffer
    from iree_wasm_hal.hal.executable import Executable

F32 = np.dtype("float32")
U8 = np.dtype("uint8")

GOOD = "(i32.store (call $binding (local.get $dispatch) (i32.const 0)) (i32.const 7)) (i32.const 0)"
LOOP = "(loop $forever (br $forever)) (i32.const 0)"


def record(
    device: Device, executable: Executable, name: str, *, workgroups: int = 1, bindings: int = 0
) -> CommandBuffer:
    recorded = device.create_command_buffer(binding_capacity=1)
    slots = [(0, None, 0, 4)] * bindings
    recorded.dispatch(executable, executable.lookup_function(name), (workgroups, 1, 1), (), slots)
    recorded.finalize()
    return recorded


def watchdogs() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "iree-wasm-watchdog"}


def check_usable(device: Device, executable: Executable) -> None:
    out = device.allocator.upload(np.zeros(4, U8))
    recorded = record(device, executable, "good", bindings=1)
    device.queue_execute(None, None, recorded, [(out, 0, 4)])
    assert out.load(0, 4) == 7


TRAPS = {
    "unreachable": ("(unreachable)", "unreachable"),
    "out_of_bounds": ("(i32.load (i32.const -8))", "out of bounds memory access"),
    "divide": ("(i32.div_u (i32.const 1) (local.get $p))", "integer divide by zero"),
    "recursion": (
        "(call $recursion (local.get 0) (local.get 1) (i32.add (local.get 2) (i32.const 1)))",
        "call stack exhausted",
    ),
}


@pytest.mark.parametrize("name", TRAPS)
def test_a_trap_names_its_kernel_and_leaves_the_device_usable(
    name: str, device: Device, load_hand_made: Callable[..., Executable], hand_kernel: Any
) -> None:
    body, kind = TRAPS[name]
    before = "(local $p i32) (global.set $sp (i32.sub (global.get $sp) (i32.const 64)))"
    executable = load_hand_made(
        {
            "good": hand_kernel(GOOD, binding_count=1),
            name: hand_kernel(before + body),
        }
    )
    recorded = record(device, executable, name)
    fence = Fence()
    with pytest.raises(TrapError, match=f"kernel '{name}' trapped") as caught:
        device.queue_execute(None, fence, recorded)
    assert caught.value.kind == kind
    assert fence.failure is caught.value
    # 64 bytes of stack are lost at each trap unless the stack pointer is set again.
    for _ in range(20_000 if name == "unreachable" else 3):
        with pytest.raises(TrapError):
            device.queue_execute(None, None, recorded)
    check_usable(device, executable)


def test_a_kernel_that_returns_an_error(
    device: Device, load_hand_made: Callable[..., Executable], hand_kernel: Any
) -> None:
    body = """(select (i32.const 42) (i32.const 0)
        (i32.eq (i32.load (local.get $workgroup)) (i32.const 5)))"""
    executable = load_hand_made(
        {"good": hand_kernel(GOOD, binding_count=1), "fifth": hand_kernel(body)}
    )
    recorded = record(device, executable, "fifth", workgroups=9)
    with pytest.raises(InvocationError, match="kernel 'fifth' returned 42 in workgroup 5,0,0"):
        device.queue_execute(None, None, recorded)
    check_usable(device, executable)


def test_stack_overflow_meets_the_canary(
    device: Device, load_hand_made: Callable[..., Executable], hand_kernel: Any
) -> None:
    # Writes down to the lowest byte of the stack region.
    body = """(i32.store (i32.sub (global.get $sp) (i32.const 1048576)) (i32.const 1))
        (i32.const 0)"""
    executable = load_hand_made(
        {"good": hand_kernel(GOOD, binding_count=1), "deep": hand_kernel(body)}
    )
    recorded = record(device, executable, "deep")
    for _ in range(2):
        with pytest.raises(TrapError, match="overflowed their stack") as caught:
            device.queue_execute(None, None, recorded)
        assert caught.value.kind == "stack overflow"
    check_usable(device, executable)


def test_a_kernel_that_scribbles_over_the_command_stream(
    device: Device, load_hand_made: Callable[..., Executable], hand_kernel: Any
) -> None:
    # From its output on, it overwrites everything allocated later.
    body = """(memory.fill (call $binding (local.get $dispatch) (i32.const 0))
                (i32.const 0xAB) (i32.const 65536)) (i32.const 0)"""
    executable = load_hand_made({"scribble": hand_kernel(body, binding_count=1)})
    out = device.allocator.upload(np.zeros(4, U8))
    recorded = device.create_command_buffer(binding_capacity=1)
    for _ in range(4):
        recorded.dispatch(executable, 0, (1, 1, 1), (), [(0, None, 0, 4)])
        recorded.execution_barrier()
    recorded.finalize()
    with pytest.raises(InvocationError, match="a kernel wrote outside its buffers"):
        device.queue_execute(None, None, recorded, [(out, 0, 4)])


@pytest.mark.parametrize("byte", [0x00, 0x01, 0x02, 0x7F, 0xAB, 0xFF])
@pytest.mark.parametrize("start", [65536, 65536 + (1 << 20)])
def test_a_kernel_that_overwrites_all_memory_harms_only_itself(
    byte: int, start: int, device: Device, make_module: Any, hand_kernel: Any
) -> None:
    scribble = f"""(memory.fill (i32.const {start}) (i32.const {byte})
        (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const {start}))) (i32.const 0)"""
    module = make_module(
        {"good": hand_kernel(GOOD, binding_count=1), "scribble": hand_kernel(scribble)}
    )
    device.timeout = 0.2
    executables = [device.prepare_executable("system-wasm-wasm_32", module) for _ in range(2)]
    out = device.allocator.upload(np.zeros(4, U8))
    recorded = device.create_command_buffer()
    for executable, name in ((0, "good"), (1, "scribble"), (0, "good"), (1, "good")):
        target = executables[executable]
        function = target.lookup_function(name)
        bindings = [(0, out, 0, 4)] if name == "good" else []
        recorded.dispatch(target, function, (2, 1, 1), (), bindings)
        recorded.execution_barrier()
    recorded.finalize()
    with pytest.raises((InvocationError, TrapError, InterruptedCallError)):
        device.queue_execute(None, None, recorded)
    # What the host keeps is untouched: fresh kernels and buffers work.
    fresh = device.prepare_executable("system-wasm-wasm_32", module)
    check_usable(device, fresh)


def test_a_time_out_ends_an_endless_kernel(
    engine: Engine, device: Device, load_hand_made: Callable[..., Executable], hand_kernel: Any
) -> None:
    executable = load_hand_made(
        {"good": hand_kernel(GOOD, binding_count=1), "forever": hand_kernel(LOOP)}
    )
    recorded = record(device, executable, "forever")
    others = watchdogs()  # of other tests' devices; they may end meanwhile
    for _ in range(3):
        device.timeout = 0.05
        start = time.monotonic()
        with pytest.raises(InterruptedCallError, match=r"timeout of 0\.05 s") as e:
            device.queue_execute(None, None, recorded)
        assert "kernel 'forever'" in str(e.value)
        assert time.monotonic() - start > 0.04, "ended before its time"
        device.timeout = 60  # a busy machine may take longer than the other
        check_usable(device, executable)
    (mine,) = watchdogs() - others
    other = Device(engine, timeout=10)
    assert watchdogs() - others == {mine}, "started before there is anything to watch"
    other.watchdog.begin()
    (thread,) = watchdogs() - others - {mine}
    other.watchdog.end()
    del other
    thread.join(10)  # without close, the thread goes with the device
    assert not thread.is_alive()
    device.timeout = None
    assert device.timeout is None
    check_usable(device, executable)
    device.close()
    assert not watchdogs() - others


@pytest.mark.parametrize("bad", ["forever", "broken"])
def test_the_command_that_ran_is_named(
    bad: str, device: Device, load_hand_made: Callable[..., Executable], hand_kernel: Any
) -> None:
    executable = load_hand_made(
        {
            "good": hand_kernel(GOOD, binding_count=1),
            "forever": hand_kernel(LOOP),
            "broken": hand_kernel("(unreachable)"),
        }
    )
    out = device.allocator.upload(np.zeros(4, U8))
    recorded = device.create_command_buffer()
    for name in ("good", bad, "good"):
        function = executable.lookup_function(name)
        bindings = [(0, out, 0, 4)] if name == "good" else []
        recorded.dispatch(executable, function, (1, 1, 1), (), bindings)
        recorded.execution_barrier()
        recorded.fill_buffer(out, 0, 0, 4, 1, 4)
        recorded.execution_barrier()
    recorded.finalize()
    device.timeout = 0.05
    with pytest.raises((InterruptedCallError, TrapError), match=f"kernel '{bad}'"):
        device.queue_execute(None, None, recorded)
    # Without frames from the engine the claim counters say it.
    assert recorded.take_submission().started_command() == bad


def test_cancel_from_another_thread(
    device: Device, load_hand_made: Callable[..., Executable], hand_kernel: Any
) -> None:
    executable = load_hand_made(
        {"good": hand_kernel(GOOD, binding_count=1), "forever": hand_kernel(LOOP)}
    )
    recorded = record(device, executable, "forever")
    device.cancel()  # nothing runs
    failures: list[BaseException] = []

    def run() -> None:
        try:
            device.queue_execute(None, None, recorded)
        except Error as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    # The call may not have entered wasm yet when the first cancel comes.
    while thread.is_alive():
        device.cancel()
        thread.join(0.01)
    assert isinstance(failures[0], InterruptedCallError)
    check_usable(device, executable)


def test_a_time_out_needs_an_engine_that_can_interrupt(engine: Engine) -> None:
    class Uninterruptible:
        info = type(engine.info)(
            "stubborn", "1.0", "", engine.info.memory_model, frozenset(), dict(engine.info.notes)
        )

        def __getattr__(self, name: str) -> Any:
            return getattr(engine, name)

    with pytest.raises(EngineError, match=r"stubborn 1\.0 cannot end a running kernel"):
        Device(Uninterruptible(), timeout=1.0)


def test_out_of_memory_says_how_much(engine: Engine) -> None:
    device = Device(engine, max_memory_bytes=8 << 20)
    kept = device.allocator.upload(np.ones(1 << 20, U8))
    with pytest.raises(LimitError, match="out of linear memory: 8388608 bytes asked for") as caught:
        device.queue_alloca(None, None, 0, 0, 8 << 20)
    assert caught.value.asked == 8 << 20
    assert caught.value.allowed == (8 << 20) - 65536
    fence = Fence()
    with pytest.raises(LimitError):
        device.queue_alloca(None, fence, 0, 0, 1 << 62)
    assert isinstance(fence.failure, LimitError)
    with pytest.raises(LimitError):
        device.allocator.upload(np.broadcast_to(np.float32(1), (1 << 40,)))
    np.testing.assert_array_equal(kept.ndarray((1 << 20,), U8), 1)
    device.queue_alloca(None, None, 0, 0, 5 << 20)
    device.close()


class _FailNth:
    """Makes the Nth allocation fail, as a full memory would."""

    def __init__(self, n: int) -> None:
        self.left = n
        self.original = suballocator.Suballocator.allocate

    def allocate(self, owner: Any, byte_length: int, alignment: int = 64) -> Any:
        self.left -= 1
        if self.left == 0:
            raise LimitError("injected", name="linear memory", asked=byte_length, allowed=0)
        return self.original(owner, byte_length, alignment)


def test_failing_each_allocation_leaks_nothing(
    engine: Engine, add_kernel: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device(engine, max_memory_bytes=64 << 20)

    def scenario() -> None:
        executable = device.prepare_executable("system-wasm-wasm_32", add_kernel)
        x = device.allocator.upload(np.ones(4, F32))
        out = device.queue_alloca(None, None, 0, 0, 16)
        recorded = device.create_command_buffer(binding_capacity=3)
        recorded.dispatch(executable, 0, (1, 1, 1), (), [(i, None, 0, 16) for i in range(3)])
        recorded.finalize()
        device.queue_execute(None, None, recorded, [(x, 0, 16), (x, 0, 16), (out, 0, 16)])
        np.testing.assert_array_equal(out.ndarray((4,), F32), 2)

    scenario()
    gc.collect()
    used = device.allocator.statistics.used
    failures = 0
    for n in range(1, 20):
        injector = _FailNth(n)
        with monkeypatch.context() as patch:
            patch.setattr(
                suballocator.Suballocator,
                "allocate",
                lambda self, *args, injector=injector: injector.allocate(self, *args),
            )
            if n <= 5:  # static data, environment, upload, alloca, stream
                with pytest.raises(LimitError, match="injected"):
                    scenario()
                failures += 1
            else:
                scenario()
                assert injector.left > 0
                break
        gc.collect()
        assert device.allocator.statistics.used == used
    assert failures == 5
    device.close()


def test_growth_that_the_machine_refuses(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: GuestMemory, byte_length: int) -> None:
        raise LimitError("mmap: no memory", name="linear memory", asked=byte_length, allowed=0)

    monkeypatch.setattr(GuestMemory, "grow_to", refuse)
    with pytest.raises(LimitError, match="out of linear memory: 67108864 bytes asked for"):
        device.queue_alloca(None, None, 0, 0, 64 << 20)
    device.queue_alloca(None, None, 0, 0, 64)


def test_use_after_close(engine: Engine, add_kernel: bytes) -> None:
    device = Device(engine)
    executable = device.prepare_executable("system-wasm-wasm_32", add_kernel)
    x = device.allocator.upload(np.arange(4, dtype=F32))
    recorded = device.create_command_buffer(binding_capacity=3)
    recorded.dispatch(executable, 0, (1, 1, 1), (), [(i, None, 0, 16) for i in range(3)])
    recorded.finalize()
    array = x.ndarray((4,), F32)
    pending = Fence()
    signal = Fence()
    device.queue_fill(pending, signal, x, 0, 16, 0, 4)
    device.close()
    device.close()
    assert device.is_closed
    uses: list[Callable[[], object]] = [
        lambda: device.queue_execute(None, None, recorded, [(x, 0, 16)] * 3),
        lambda: device.queue_alloca(None, None, 0, 0, 16),
        lambda: device.allocator.upload(np.zeros(1)),
        lambda: device.allocator.allocate_buffer(1),
        lambda: device.prepare_executable("system-wasm-wasm_32", add_kernel),
        device.create_command_buffer,
        device.queue_flush,
        lambda: device.queue_fill(None, None, x, 0, 16, 0, 4),
        lambda: x.ndarray((4,), F32),
    ]
    for use in uses:
        with pytest.raises(ClosedError):
            use()
    pending.signal()
    assert isinstance(signal.failure, ClosedError)
    # Outputs live on: their memory goes with the last array.
    np.testing.assert_array_equal(array, [0, 1, 2, 3])
    array += 1
    np.testing.assert_array_equal(array, [1, 2, 3, 4])


def test_a_signal_handler_does_not_wait_for_itself(device: Device, add_kernel: bytes) -> None:
    buffer = device.allocator.upload(np.arange(4, dtype=F32))
    uses: list[Callable[[], object]] = [
        device.close,
        lambda: device.queue_fill(None, None, buffer, 0, 16, 0, 4),
        lambda: device.prepare_executable("system-wasm-wasm_32", add_kernel),
    ]

    def operation() -> None:  # where Python runs the handlers of signals that came meanwhile
        for use in uses:
            with pytest.raises(InvocationError, match="a signal handler must leave it alone"):
                use()

    device._scheduler.submit(None, None, operation)
    assert not device.is_closed
    uses[1]()
    assert bytes(buffer.view()) == bytes(16)


def test_bad_device_arguments(engine: Engine) -> None:
    with pytest.raises(ArgumentError, match="threads is 0"):
        Device(engine, threads=0)
    with pytest.raises(ArgumentError, match="max_memory_bytes is 65536; expected at least"):
        Device(engine, max_memory_bytes=65536)
    with pytest.raises(ArgumentError, match="32-bit addresses"):
        Device(engine, max_memory_bytes=1 << 33)


def test_threads_share_a_device(device: Device, add_kernel: bytes) -> None:
    executable = device.prepare_executable("system-wasm-wasm_32", add_kernel)
    recorded = device.create_command_buffer(binding_capacity=3)
    recorded.dispatch(executable, 0, (1, 1, 1), (), [(i, None, 0, 16) for i in range(3)])
    recorded.finalize()
    wrong: list[object] = []

    def hammer(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(300):
            x, y = rng.standard_normal((2, 4)).astype(F32)
            out = device.queue_alloca(None, None, 0, 0, 16)
            a, b = device.allocator.upload(x), device.allocator.upload(y)
            fence = Fence()
            device.queue_execute(None, fence, recorded, [(a, 0, 16), (b, 0, 16), (out, 0, 16)])
            fence.wait()
            if not np.array_equal(out.ndarray((4,), F32), x + y):
                wrong.append((x, y))

    threads = [threading.Thread(target=hammer, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    assert device.statistics.dispatches == 1200
