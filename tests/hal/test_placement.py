"""On which cores helpers run."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from available_engines import engine_names

from iree_wasm_hal.engine.contract import Feature
from iree_wasm_hal.engine.known_engines import KNOWN_ENGINES
from iree_wasm_hal.engine.registry import open_engine
from iree_wasm_hal.hal import placement
from iree_wasm_hal.hal.device import Device
from iree_wasm_hal.hal.placement import Placement

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

ENGINES = [name for name in engine_names() if Feature.THREADS in KNOWN_ENGINES[name]]
WORKGROUPS = 64

linux = pytest.mark.skipif(
    sys.platform != "linux", reason="other systems tell no core and move no thread"
)


class Clock:
    """Seconds; each look takes one."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1.0
        return self.now_s


class System:
    """Affinities of threads, as the system would keep them."""

    def __init__(self, cores: set[int]) -> None:
        self.cores = cores
        self.given: dict[int, set[int]] = {}

    def get(self, id_: int) -> set[int]:
        return self.given.get(id_, self.cores)

    def set(self, id_: int, cores: set[int]) -> None:
        self.given[id_] = cores


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    system = System({0, 1, 2, 3})
    monkeypatch.setattr(os, "sched_getaffinity", system.get)
    monkeypatch.setattr(os, "sched_setaffinity", system.set)
    return system


@pytest.fixture
def helpers() -> Iterator[list[threading.Thread]]:
    over = threading.Event()
    threads = [threading.Thread(target=over.wait) for _ in range(2)]
    for thread in threads:
        thread.start()
    yield threads
    over.set()
    for thread in threads:
        thread.join()


def cores_of(system: System, helpers: list[threading.Thread]) -> list[set[int]]:
    assert all(thread.native_id for thread in helpers)
    return [system.get(thread.native_id or 0) for thread in helpers]


@linux
def test_helpers_leave_the_core_of_the_submitter(
    system: System, helpers: list[threading.Thread]
) -> None:
    placed = Placement(helpers, Clock())
    placed.follow(1)
    assert cores_of(system, helpers) == [{0, 2, 3}] * 2
    assert set(system.given) == {thread.native_id for thread in helpers}, "and nobody else"


@linux
def test_helpers_follow_the_submitter(system: System, helpers: list[threading.Thread]) -> None:
    clock = Clock()
    placed = Placement(helpers, clock)
    placed.follow(1)
    clock.now_s += 1000.0
    placed.follow(2)
    assert cores_of(system, helpers) == [{0, 1, 3}] * 2


@linux
def test_submitters_that_take_turns_cost_little(
    system: System, helpers: list[threading.Thread]
) -> None:
    clock = Clock()
    placed = Placement(helpers, clock)
    moves = 0
    for number in range(5000):
        before = cores_of(system, helpers)
        placed.follow(number % 2)
        moves += cores_of(system, helpers) != before
    assert 5 < moves <= 5000 / 100 + 1


@linux
@pytest.mark.parametrize("cores", [{1}, {0, 1}])
def test_too_few_cores_are_left_alone(
    cores: set[int], system: System, helpers: list[threading.Thread]
) -> None:
    system.cores = cores
    Placement(helpers, Clock()).follow(1)
    assert system.given == {}


@linux
def test_what_a_user_decides_holds(system: System, helpers: list[threading.Thread]) -> None:
    clock = Clock()
    placed = Placement(helpers, clock)
    placed.follow(1)
    for thread in helpers:
        system.set(thread.native_id or 0, {1, 2, 3})
    clock.now_s += 1000.0
    placed.follow(0)
    assert cores_of(system, helpers) == [{1, 2, 3}] * 2
    clock.now_s += 1000.0
    placed.follow(3)
    assert cores_of(system, helpers) == [{1, 2}] * 2


@linux
@pytest.mark.parametrize("event", range(1, 5))
def test_ctrl_c_amid_a_move_narrows_nothing(
    event: int,
    system: System,
    helpers: list[threading.Thread],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It comes before or after each of the two moves."""
    clock = Clock()
    placed = Placement(helpers, clock)
    placed.follow(1)
    clock.now_s += 1000.0
    events = 0

    def tell() -> None:
        nonlocal events
        events += 1
        if events == event:
            raise KeyboardInterrupt

    def move(id_: int, cores: set[int]) -> None:
        tell()
        system.set(id_, cores)
        tell()

    with monkeypatch.context() as interrupted:
        interrupted.setattr(os, "sched_setaffinity", move)
        with pytest.raises(KeyboardInterrupt):
            placed.follow(2)
    for core in (2, 3):
        clock.now_s += 1000.0
        placed.follow(core)
        assert cores_of(system, helpers) == [{0, 1, 2, 3} - {core}] * 2


@linux
def test_a_system_that_forbids_it_is_none_the_worse(
    system: System, helpers: list[threading.Thread], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_id: int, _cores: set[int]) -> None:
        raise PermissionError(1, "no")

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    Placement(helpers, Clock()).follow(1)
    assert cores_of(system, helpers) == [{0, 1, 2, 3}] * 2


def test_where_cores_have_no_numbers_nothing_happens(
    helpers: list[threading.Thread], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement, "_core_finder", lambda: lambda: -1)
    monkeypatch.setattr(Placement, "_move", None)
    Placement(helpers, Clock()).follow()


@linux
@pytest.mark.parametrize("name", ENGINES)
def test_a_shared_submission_leaves_its_core_to_the_submitter(
    name: str, make_module: Any, hand_kernel: Any
) -> None:
    """On the real system: the caller may go on wherever it could, its helper not on its core."""
    cores = os.sched_getaffinity(0)
    engine = open_engine(name)
    before = set(threading.enumerate())
    device = Device(engine, threads=2, max_memory_bytes=64 << 20)
    (helper,) = set(threading.enumerate()) - before
    module = make_module({"nothing": hand_kernel("(i32.const 0)")})
    recorded = device.create_command_buffer()
    executable = device.prepare_executable("system-wasm-wasm_32", module)
    recorded.dispatch(executable, 0, (WORKGROUPS, 1, 1), [], [])
    recorded.finalize()
    assert helper.native_id
    assert os.sched_getaffinity(helper.native_id) == cores
    device.queue_execute(None, None, recorded, [])
    left = cores - os.sched_getaffinity(helper.native_id)
    assert len(left) == (len(cores) > 1)
    assert os.sched_getaffinity(0) == cores
    device.close()
    engine.close()
