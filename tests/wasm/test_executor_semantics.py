"""The executor's promises one by one: states, failures, stopping, switching, late workers."""

from __future__ import annotations

import ctypes
import struct
import threading
import time

import pytest
from wasm_guest import NO_EXECUTABLE, Guest, PackageBackend, PluginBackend
from wasm_modules import kernel_module

from iree_wasm_hal.engine.registry import open_engine
from iree_wasm_hal.errors import TrapError
from iree_wasm_hal.wasm import executor_phases
from iree_wasm_hal.wasm.stream import BindingRef, Result, Status
from iree_wasm_hal.wasm.stream_builder import CommandStreamBuilder, EncodedStream


class DispatchState(ctypes.LittleEndianStructure):
    """iree_hal_executable_dispatch_state_v0_t with 32-bit pointers."""

    _fields_ = (
        ("workgroup_size_x", ctypes.c_uint32),
        ("workgroup_size_y", ctypes.c_uint32),
        ("workgroup_size_z", ctypes.c_uint16),
        ("constant_count", ctypes.c_uint16),
        ("workgroup_count_x", ctypes.c_uint32),
        ("workgroup_count_y", ctypes.c_uint32),
        ("workgroup_count_z", ctypes.c_uint16),
        ("max_concurrency", ctypes.c_uint8),
        ("binding_count", ctypes.c_uint8),
        ("constants", ctypes.c_uint32),
        ("binding_ptrs", ctypes.c_uint32),
        ("binding_lengths", ctypes.c_uint32),
    )


class WorkgroupState(ctypes.LittleEndianStructure):
    """iree_hal_executable_workgroup_state_v0_t with 32-bit pointers."""

    _fields_ = (
        ("workgroup_id_x", ctypes.c_uint32),
        ("workgroup_id_y", ctypes.c_uint32),
        ("workgroup_id_z", ctypes.c_uint16),
        ("reserved", ctypes.c_uint16),
        ("processor_id", ctypes.c_uint32),
        ("local_memory", ctypes.c_uint32),
        ("local_memory_size", ctypes.c_uint32),
    )


def make_guest(*, atomics: bool = True, worker_count: int = 1, shared: bool = False) -> Guest:
    if shared:
        backend = PluginBackend(open_engine("wasmtime"))
        return Guest(backend, atomics=atomics, worker_count=worker_count)
    return Guest(PackageBackend(), atomics=atomics, worker_count=worker_count)


def marks(
    guest: Guest,
    count: tuple[int, int, int] | BindingRef,
    target: int,
    *,
    builder: CommandStreamBuilder | None = None,
    value: int = 1,
    result: int = 0,
    at: int = -1,
    executable: int = 0,
) -> CommandStreamBuilder:
    """A dispatch of the kernel ``mark``, which returns ``result`` in workgroup ``at``."""
    builder = builder or CommandStreamBuilder()
    builder.dispatch(
        executable,
        guest.executables[executable].kernels["mark"],
        guest.environment,
        count,
        constants=(value, result, at),
        bindings=[BindingRef(-1, target, 4)],
    )
    return builder


@pytest.fixture
def guest() -> Guest:
    guest = make_guest()
    guest.load(kernel_module())
    return guest


def words(guest: Guest, address: int, count: int) -> list[int]:
    return list(struct.unpack(f"<{count}I", guest.read(address, 4 * count)))


@pytest.mark.parametrize("atomics", [False, True])
def test_kernels_see_the_states_of_the_abi(atomics: bool) -> None:
    guest = make_guest(atomics=atomics)
    executable = guest.load(kernel_module())
    out, data = guest.allocate(192), guest.allocate(64)
    builder = CommandStreamBuilder()
    builder.dispatch(
        0,
        executable.kernels["show"],
        guest.environment,
        (2, 3, 65_535 // 3),
        workgroup_size=(7, 8, 65_535),
        constants=[0xDEADBEEF, -2, 3],
        bindings=[BindingRef(-1, out, 192), BindingRef(0, 16, 48)],
        local_memory_byte_length=4096,
    )
    assert guest.execute(
        builder.finish(), [(data, 64)], first=0, local_memory_byte_length=8192
    ) == [Result.COMPLETE]
    state = DispatchState.from_buffer_copy(guest.read(out, ctypes.sizeof(DispatchState)))
    group = WorkgroupState.from_buffer_copy(guest.read(out + 64, ctypes.sizeof(WorkgroupState)))
    assert (state.workgroup_size_x, state.workgroup_size_y, state.workgroup_size_z) == (7, 8, 65535)
    counts = (state.workgroup_count_x, state.workgroup_count_y, state.workgroup_count_z)
    assert counts == (2, 3, 21845)
    assert (state.constant_count, state.binding_count, state.max_concurrency) == (3, 2, 1)
    assert words(guest, state.constants, 3) == [0xDEADBEEF, 0xFFFFFFFE, 3]
    assert words(guest, state.binding_ptrs, 2) == [out, data + 16]
    assert words(guest, state.binding_lengths, 2) == [192, 48]
    # The last workgroup, x fastest.
    ids = (group.workgroup_id_x, group.workgroup_id_y, group.workgroup_id_z)
    assert ids == (1, 2, 21844)
    assert (group.reserved, group.processor_id, group.local_memory_size) == (0, 0, 8192)
    assert words(guest, group.local_memory, 1) == [0x600DF00D]
    assert words(guest, out + 128, 3) == [guest.environment, 48, 0xDEADBEEF]


@pytest.mark.parametrize("worker_count", [1, 2])
def test_failing_kernel_is_reported_and_stops_the_rest(worker_count: int) -> None:
    guest = make_guest(worker_count=worker_count, shared=True)
    guest.load(kernel_module())
    target, after = guest.allocate(4 * 3000), guest.allocate(64)
    builder = CommandStreamBuilder()
    builder.fill(BindingRef(-1, target, 4 * 3000), 0, 4)
    builder.barrier()
    marks(guest, (10, 20, 15), target, builder=builder, result=-77, at=1234)
    builder.barrier()
    builder.fill(BindingRef(-1, after, 64), 0xFF, 1)
    stream = builder.finish()
    results = guest.execute(stream, [], first=0)
    assert results.count(Result.FAILED) == 1
    assert results.count(Result.STOPPED) == worker_count - 1
    report = guest.report()
    assert report.status is Status.KERNEL_FAILED
    assert (report.command_index, report.kernel_result) == (1, -77)
    assert report.workgroup_id == (1234 % 10, 1234 // 10 % 20, 1234 // 200)
    assert guest.read(after, 64) == bytes(64)


@pytest.mark.parametrize("at", [0, 1, 63, 500, 2047])
def test_trap_of_one_worker_ends_the_other(at: int) -> None:
    guest = make_guest(worker_count=2, shared=True)
    guest.load(kernel_module())
    target = guest.allocate(4 * 2048)
    builder = marks(guest, (2048, 1, 1), target, result=-1, at=at)
    builder.barrier()
    marks(guest, (2048, 1, 1), target, builder=builder)
    with pytest.raises(TrapError):
        guest.execute(builder.finish(), [], first=0)
    # Both instances are usable afterwards.
    again = marks(guest, (2048, 1, 1), target).finish()
    assert guest.execute(again, [], first=0) == [Result.COMPLETE] * 2


def test_stop_flag_is_seen_before_any_work(guest: Guest) -> None:
    target = guest.allocate(64)
    builder = CommandStreamBuilder()
    builder.fill(BindingRef(-1, target, 64), 1, 1)
    guest.submit(builder.finish(), [])
    guest.stop()
    assert guest.work(0, NO_EXECUTABLE) is Result.STOPPED
    assert guest.read(target, 64) == bytes(64)
    assert guest.report().status is Status.OK


def _phase_state(guest: Guest, stream: EncodedStream) -> int:
    """Address of the first phase's state word: the first counter."""
    (offset,) = struct.unpack_from("<I", stream.data, 12)
    return guest.submission + int(offset)


def test_sleeping_worker_sees_the_stop_flag() -> None:
    guest = make_guest(worker_count=1, shared=True)
    builder = CommandStreamBuilder()
    builder.update(b"12345678", BindingRef(-1, guest.allocate(8), 8))
    stream = builder.finish()
    guest.submit(stream, [])
    # Somebody is inside the phase and never leaves.
    struct.pack_into("<I", guest.view, _phase_state(guest, stream), 1)
    started = time.monotonic()
    timer = threading.Timer(0.1, guest.stop)
    timer.start()
    assert guest.work(0, NO_EXECUTABLE) is Result.STOPPED
    timer.join()
    assert time.monotonic() - started >= 0.1, "it did not wait"


def test_sleeping_worker_is_woken_by_the_last_one_out(monkeypatch: pytest.MonkeyPatch) -> None:
    # Were it woken by the time-out alone, every phase would take 20 s.
    monkeypatch.setattr(executor_phases, "_WAIT_TIMEOUT_NS", 20_000_000_000)
    guest = make_guest(worker_count=2, shared=True)
    guest.spin_limit = 0
    area = guest.allocate(4 << 20)
    builder = CommandStreamBuilder()
    for _ in range(50):
        # Overlapping, so that one worker does it in one piece and the other has to wait.
        builder.copy(BindingRef(-1, area, 3 << 20), BindingRef(-1, area + 1, 3 << 20))
        builder.barrier()
    started = time.monotonic()
    assert guest.execute(builder.finish(), []) == [Result.COMPLETE] * 2
    assert time.monotonic() - started < 15


def test_memory_that_cannot_wait_makes_workers_yield(guest: Guest) -> None:
    builder = CommandStreamBuilder()
    target = guest.allocate(8)
    builder.update(b"12345678", BindingRef(-1, target, 8))
    builder.barrier()
    builder.update(b"abcdefgh", BindingRef(-1, target, 8))
    stream = builder.finish()
    guest.submit(stream, [])
    state = _phase_state(guest, stream)
    struct.pack_into("<I", guest.view, state, 1)
    execute = guest.bare[0]["iree_wasm_execute"]
    for _ in range(3):
        assert execute(guest.submission, guest.worker_blocks[0]) == Result.YIELD
        assert guest.read(target, 8) == b"12345678"
    struct.pack_into("<I", guest.view, state, 0)
    assert execute(guest.submission, guest.worker_blocks[0]) == Result.COMPLETE
    assert guest.read(target, 8) == b"abcdefgh"


def test_late_worker_does_not_run_closed_phases() -> None:
    guest = make_guest(worker_count=2)
    guest.load(kernel_module())
    target, counts = guest.allocate(4 * 64), guest.place(struct.pack("<3I", 4, 1, 1))
    builder = marks(guest, BindingRef(-1, counts, 12), target)
    builder.barrier()
    # Were the dispatch looked at again, it would have workgroups left.
    builder.update(struct.pack("<3I", 64, 1, 1), BindingRef(-1, counts, 12))
    stream = builder.finish()
    guest.submit(stream, [], first=0)
    assert guest.work(0, 0) is Result.COMPLETE
    assert guest.work(1, 0) is Result.COMPLETE
    # Even from the very start of the stream.
    struct.pack_into("<I", guest.view, guest.submission + 28, 0)
    assert guest.work(1, 0) is Result.COMPLETE
    assert words(guest, target, 64) == [1] * 4 + [0] * 60


def test_exhausted_dispatch_of_another_executable_needs_no_switch() -> None:
    guest = make_guest(worker_count=2)
    for _ in range(2):
        guest.load(kernel_module())
    target = guest.allocate(64)
    builder = marks(guest, (4, 1, 1), target, executable=0)
    marks(guest, (4, 1, 1), target + 16, builder=builder, executable=1)
    guest.submit(builder.finish(), [], first=0)
    execute = [guest.executables[i].workers[0]["iree_wasm_execute"] for i in range(2)]
    blocks = guest.worker_blocks
    assert execute[0](guest.submission, blocks[0]) == Result.SWITCH
    (required,) = struct.unpack_from("<I", guest.view, blocks[0] + 8)
    assert required == 1
    # The other worker comes with the other executable and finds the rest.
    struct.pack_into("<I", guest.view, blocks[1] + 4, 1)
    assert execute[1](guest.submission, blocks[1]) == Result.COMPLETE
    # The phase is closed now: the first one needs no second look.
    assert execute[0](guest.submission, blocks[0]) == Result.COMPLETE
    assert words(guest, target, 8) == [1] * 8


COUNTS = {
    (0, 5, 5): None,
    (0xFFFFFFFF, 0xFFFFFFFF, 0): None,
    (1, 1, 0x10000): Status.WORKGROUP_COUNT,
    (0xFFFFFFFF, 0xFFFFFFFF, 65535): Status.WORKGROUP_COUNT,
    (0x10000, 0x10000, 1): Status.WORKGROUP_COUNT,
    (1 << 30, 1, 2): Status.WORKGROUP_COUNT,
}


@pytest.mark.parametrize("count", COUNTS)
def test_indirect_counts_are_checked(guest: Guest, count: tuple[int, int, int]) -> None:
    address = guest.place(struct.pack("<3I", *count))
    stream = marks(guest, BindingRef(-1, address, 12), guest.allocate(64)).finish()
    (result,) = guest.execute(stream, [], first=0)
    status = COUNTS[count]
    assert result == (Result.COMPLETE if status is None else Result.FAILED)
    assert guest.report().status is (status or Status.OK)
    if status:
        assert guest.report().workgroup_id == count


def test_missing_local_memory_is_reported(guest: Guest) -> None:
    builder = CommandStreamBuilder()
    kernel = guest.executables[0].kernels["mark"]
    builder.dispatch(0, kernel, 0, (1, 1, 1), local_memory_byte_length=4096)
    stream = builder.finish()
    assert stream.local_memory_byte_length == 4096
    assert guest.execute(stream, [], first=0) == [Result.FAILED]
    assert guest.report().status is Status.LOCAL_MEMORY


def test_unknown_command_is_reported(guest: Guest) -> None:
    builder = CommandStreamBuilder()
    builder.update(b"", BindingRef(-1, 0, 0))
    builder.update(b"", BindingRef(-1, 0, 0))
    stream = builder.finish()
    address = guest.place(stream.data)
    struct.pack_into("<I", guest.view, address + 24 + 40, 99)
    assert guest.execute(stream, [], stream_address=address) == [Result.FAILED]
    report = guest.report()
    assert (report.status, report.command_index) == (Status.BAD_COMMAND, 1)


def test_dispatch_on_the_bare_executor_asks_for_the_executable(guest: Guest) -> None:
    guest.submit(marks(guest, (1, 1, 1), guest.allocate(64)).finish(), [])
    result = guest.bare[0]["iree_wasm_execute"](guest.submission, guest.worker_blocks[0])
    assert result == Result.SWITCH


def test_overlapping_copy_moves(guest: Guest) -> None:
    data = bytes(range(256)) * 8192  # two chunks
    for shift in (1, -1, 4096, -4096, 0):
        with guest.scope():
            area = guest.allocate(len(data) + 8192)
            guest.write(area + 4096, data)
            builder = CommandStreamBuilder()
            builder.copy(
                BindingRef(-1, area + 4096, len(data)),
                BindingRef(-1, area + 4096 + shift, len(data)),
            )
            assert guest.execute(builder.finish(), []) == [Result.COMPLETE]
            assert guest.read(area + 4096 + shift, len(data)) == data


def test_addresses_above_two_gibibytes_are_unsigned() -> None:
    guest = Guest(PackageBackend(page_count=65_535), atomics=True)
    guest.load(kernel_module())
    for middle in (1 << 31, (1 << 32) - (1 << 17)):
        data = bytes(range(200))
        guest.write(middle - 100, data)
        builder = CommandStreamBuilder()
        builder.copy(BindingRef(-1, middle - 100, 200), BindingRef(-1, middle + 200, 200))
        builder.copy(BindingRef(0, 10, 50), BindingRef(1, 0, 50))
        builder.fill(BindingRef(-1, middle + 500, 20), 0x01020304, 4)
        builder.barrier()
        marks(guest, (3, 1, 1), middle + 600, builder=builder)
        table = [(middle - 100, 200), (middle + 800, 50)]
        assert guest.execute(builder.finish(), table, first=0) == [Result.COMPLETE]
        assert guest.read(middle + 200, 200) == data
        assert guest.read(middle + 800, 50) == data[10:60]
        assert guest.read(middle + 500, 20) == bytes((4, 3, 2, 1)) * 5
        assert words(guest, middle + 600, 3) == [1, 1, 1]


def test_environment_and_stream_are_never_written(guest: Guest) -> None:
    stream = marks(guest, (300, 7, 2), guest.allocate(4 * 4200)).finish()
    place = guest.place(stream.data)
    before = guest.read(guest.environment, 256)
    for _ in range(3):
        assert guest.execute(stream, [], first=0, stream_address=place) == [Result.COMPLETE]
    assert guest.read(place, len(stream.data)) == stream.data
    assert guest.read(guest.environment, 256) == before


@pytest.mark.parametrize("worker_count", [2, 4])
@pytest.mark.parametrize("counts", [(10, 10, 100), (5, 4, 1)])
def test_hammer_every_workgroup_runs_exactly_once(
    worker_count: int, counts: tuple[int, int, int]
) -> None:
    guest = make_guest(worker_count=worker_count, shared=True)
    for _ in range(2):
        guest.load(kernel_module())
    total = counts[0] * counts[1] * counts[2]
    target = guest.allocate(3 * 4 * total)
    builder = CommandStreamBuilder()
    phase_count = 60_000 // total
    for _ in range(phase_count):
        # Two executables, three dispatches on disjoint elements, all in one phase.
        for i in range(3):
            start = target + 4 * total * i
            marks(guest, counts, start, builder=builder, executable=(i == 2) * (total > 1000))
        builder.barrier()
    stream = builder.finish()
    place = guest.place(stream.data)
    for round_index in range(8):
        with guest.scope():
            results = guest.execute(stream, [], first=0, stream_address=place)
        assert results == [Result.COMPLETE] * worker_count
        assert set(words(guest, target, 3 * total)) == {phase_count * (round_index + 1)}
