"""What is left of loading, growing, creating and closing that did not come to its end."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, cast

import pytest

from iree_wasm_hal.errors import CallTimeoutError, ClosedError, EngineError, LimitError
from iree_wasm_hal.hal.call import Call, inside
from iree_wasm_hal.hal.device import Device
from iree_wasm_hal.hal.device_options import memory_type
from iree_wasm_hal.hal.executable import Executable
from iree_wasm_hal.hal.guest_memory import GuestMemory
from iree_wasm_hal.hal.helpers import Helpers
from iree_wasm_hal.hal.suballocator import Suballocator
from iree_wasm_hal.hal.watchdog import Watchdog
from iree_wasm_hal.hal.worker_pool import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from iree_wasm_hal.engine.contract import Engine, Instance, Memory
    from iree_wasm_hal.hal.command_buffer import CommandBuffer

STOCK = "system-wasm-wasm_32"
NOTHING = "(i32.const 0)"
FOREVER = "(loop $forever (br $forever)) (i32.const 0)"


@pytest.fixture
def make_device(engine: Engine) -> Iterator[Callable[..., Device]]:
    """Makes devices with two threads, which are closed after the test."""
    devices = []

    def make(timeout: float | None = None) -> Device:
        device = Device(engine, threads=2, max_memory_bytes=64 << 20, cache=False, timeout=timeout)
        devices.append(device)
        return device

    yield make
    for device in devices:
        device.close()


@pytest.fixture
def prepared(
    make_device: Callable[..., Device], make_module: Any, hand_kernel: Any
) -> tuple[Device, Executable]:
    """A device, and its kernel that does nothing."""
    device = make_device()
    module = make_module({"nothing": hand_kernel(NOTHING)})
    return device, device.prepare_executable(STOCK, module)


def threads_of_devices() -> set[threading.Thread]:
    names = {"iree-wasm-1", "iree-wasm-watchdog"}
    return {thread for thread in threading.enumerate() if thread.name in names}


def record(device: Device, executable: Executable, name: str) -> CommandBuffer:
    recorded = device.create_command_buffer()
    recorded.dispatch(executable, executable.lookup_function(name), (64, 1, 1), [], [])
    recorded.finalize()
    return recorded


class Evictions:
    """How often helpers were made to leave."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        evict = Helpers.evict

        def note(helpers: Helpers) -> None:
            self.count += 1
            evict(helpers)

        monkeypatch.setattr(Helpers, "evict", note)


class Instances:
    """Those that an engine makes and nobody has closed; it refuses the one after ``left``."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[Instance] = []
        self.left = 1 << 30
        instantiate = engine.instantiate

        def note(*arguments: Any) -> Instance:
            if self.left == 0:
                raise LimitError("injected", name="instances", asked=1, allowed=0)
            self.left -= 1
            self.made.append(instantiate(*arguments))
            return self.made[-1]

        monkeypatch.setattr(engine, "instantiate", note)

    @property
    def are_closed(self) -> list[bool]:
        return [_is_closed(instance) for instance in self.made]


def _is_closed(instance: Instance) -> bool:
    try:
        instance.function("iree_wasm_no_such_function")
    except ClosedError:
        return True
    except EngineError:
        return False
    raise AssertionError("an instance has a function of any name")


@pytest.fixture
def instances(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Instances:
    return Instances(engine, monkeypatch)


@pytest.mark.parametrize("limit", ["of the call", "of the device"])
def test_a_module_that_is_loaded_without_end(
    limit: str,
    make_device: Callable[..., Device],
    instances: Instances,
    make_module: Any,
    hand_kernel: Any,
) -> None:
    kernels = {"nothing": hand_kernel(NOTHING)}
    endless = make_module(kernels, while_loaded="(loop $forever (br $forever))")
    call = Call(0.05) if limit == "of the call" else None
    device = make_device(None if call else 0.05)
    expected = r"timeout of 0\.05 s \(while a kernel module was loaded\)"
    with pytest.raises(CallTimeoutError, match=expected), inside(call):
        device.prepare_executable(STOCK, endless)
    assert instances.are_closed == [True, True]
    device.timeout = None
    kept = device.prepare_executable(STOCK, make_module(kernels))
    assert instances.are_closed == [True, True, False, False]
    kept.close()
    assert all(instances.are_closed)


def test_instances_of_the_workers_before_the_one_that_gets_none(
    make_device: Callable[..., Device], instances: Instances, make_module: Any, hand_kernel: Any
) -> None:
    module = make_module({"nothing": hand_kernel(NOTHING)})
    instances.left = 1
    device = make_device()
    with pytest.raises(LimitError, match="injected"):
        device.prepare_executable(STOCK, module)
    assert instances.are_closed == [True]


@pytest.mark.parametrize(
    "part", [Helpers, Executable, GuestMemory, Watchdog], ids=lambda part: part.__name__
)
def test_a_second_close_does_what_the_first_left(
    part: type, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = threads_of_devices()
    device, executable = request.getfixturevalue("prepared")
    with inside(Call(60.0)):
        device.watchdog.begin()  # it has a thread as well
        device.watchdog.end()
    threads = threads_of_devices() - before
    assert len(threads) == 2

    def press_ctrl_c(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr(part, "close", press_ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            device.close()
    device.close()
    assert not any(thread.is_alive() for thread in threads)
    for of_closed in (device._memory.check_open, executable.entries[0].reset):
        with pytest.raises(ClosedError):
            of_closed()


def test_threads_of_a_device_that_was_not_created(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, start = [], threading.Thread.start

    def start_until_ctrl_c(thread: threading.Thread) -> None:
        start(thread)
        started.append(thread)
        if len(started) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", start_until_ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        Device(engine, threads=4, max_memory_bytes=64 << 20, cache=False)
    for thread in started:
        thread.join(20.0)
        assert not thread.is_alive()


@pytest.fixture
def memory(engine: Engine) -> Iterator[GuestMemory]:
    memory = GuestMemory(engine, memory_type(16 << 20, memory64=False, shared=False))
    yield memory
    memory.close()


def test_a_growth_that_ctrl_c_kept_from_being_noted(
    memory: GuestMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    suballocator = Suballocator(memory)
    grow = GuestMemory._grow

    def grow_until_ctrl_c(memory: GuestMemory, delta_page_count: int) -> None:
        grow(memory, delta_page_count)
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr(GuestMemory, "_grow", grow_until_ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            suballocator.allocate(10 << 20)
    block = suballocator.allocate(14 << 20)
    memory.view[block.guest_ptr + block.byte_length - 1] = 1


class ClosedAmidAGrowth:
    """The memory of an engine: another thread closes its owner before or behind a step."""

    def __init__(self, owner: GuestMemory, step: str, *, is_behind: bool) -> None:
        self._owner, self._memory = owner, owner.memory
        self._step, self._is_behind = step, is_behind
        owner.memory = cast("Memory", self)

    def __getattr__(self, name: str) -> Any:
        of_memory = getattr(self._memory, name)
        if name != self._step:
            return of_memory

        def take_step(*arguments: Any) -> Any:
            if not self._is_behind:
                self.close_owner()
            result = of_memory(*arguments)
            if self._is_behind:
                self.close_owner()
            return result

        return take_step

    def close_owner(self) -> None:
        self._owner.memory = self._memory
        closer = threading.Thread(target=self._owner.close)
        closer.start()
        closer.join(20.0)
        assert not closer.is_alive()


@pytest.mark.parametrize("is_behind", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize("step", ["grow", "view"])
def test_a_memory_that_is_closed_amid_a_growth_stays_closed(
    step: str, is_behind: bool, memory: GuestMemory
) -> None:
    ClosedAmidAGrowth(memory, step, is_behind=is_behind)
    with pytest.raises(ClosedError):
        memory.grow_to(10 << 20)
    for use in (memory.check_open, lambda: memory.grow_to(12 << 20)):
        with pytest.raises(ClosedError):
            use()


def test_headers_of_executables_that_are_gone(make_device: Callable[..., Device]) -> None:
    (worker, _) = make_device()._pool.workers
    for index in range(1000):
        worker.write_header(index)
    assert len(worker._headers) < 100


def test_a_call_that_never_came_to_its_kernel_names_none(
    prepared: tuple[Device, Executable], monkeypatch: pytest.MonkeyPatch
) -> None:
    device, executable = prepared
    recorded = record(device, executable, "nothing")
    evictions = Evictions(monkeypatch)
    is_held, is_over = threading.Event(), threading.Event()

    def hold() -> None:
        with device._memory.in_use:
            is_held.set()
            is_over.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert is_held.wait(60.0)
        with pytest.raises(CallTimeoutError) as raised, inside(Call(0.05)):
            device.queue_execute(None, None, recorded)
    finally:
        is_over.set()
        holder.join()
    assert str(raised.value) == "the call took longer than its timeout of 0.05 s"
    assert evictions.count == 0, "there is nothing to recover from"
    device.queue_execute(None, None, recorded)


def test_ctrl_c_as_recovery_begins_leaves_it_to_the_next_submission(
    prepared: tuple[Device, Executable], monkeypatch: pytest.MonkeyPatch
) -> None:
    device, executable = prepared
    recorded = record(device, executable, "nothing")

    def press_ctrl_c(*_: object) -> None:
        raise KeyboardInterrupt

    evictions = Evictions(monkeypatch)
    with monkeypatch.context() as interrupted:
        interrupted.setattr(WorkerPool, "_run", press_ctrl_c)
        interrupted.setattr(WorkerPool, "_recover", press_ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            device.queue_execute(None, None, recorded)
    assert evictions.count == 0
    for again in (recorded, record(device, executable, "nothing")):
        device.queue_execute(None, None, again)
        assert evictions.count == 1


def test_helpers_stay_after_the_submission_behind_a_cancelled_one(
    make_device: Callable[..., Device],
    make_module: Any,
    hand_kernel: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = make_device()
    kernels = {"nothing": hand_kernel(NOTHING), "forever": hand_kernel(FOREVER)}
    executable = device.prepare_executable(STOCK, make_module(kernels))
    device.timeout = 0.05
    with pytest.raises(CallTimeoutError, match="in kernel 'forever'"):
        device.queue_execute(None, None, record(device, executable, "forever"))
    device.timeout = None
    evictions = Evictions(monkeypatch)
    for _ in range(3):
        device.queue_execute(None, None, record(device, executable, "nothing"))
    assert evictions.count == 0
