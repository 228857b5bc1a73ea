"""Pools: as many calls at once as there are modules, and the rest in turn."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from mlir_functions import COUNT_UP, DIVIDE, SPIN_ON_HOST

import iree_wasm_hal as iwh
from iree_wasm_hal.engine import Feature
from iree_wasm_hal.hal.buffer_view import BufferView
from iree_wasm_hal.hal.call import Call
from iree_wasm_hal.runtime.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

    LoadPool = Callable[..., iwh.ModulePool]

_MORE = """
  func.func @square(%a: tensor<?xf32>) -> tensor<?xf32> {
    %0 = arith.mulf %a, %a : tensor<?xf32>
    return %0 : tensor<?xf32>
  }
  func.func private @gate.meet(i32) -> i32
  func.func @meet(%a: i32) -> i32 {
    %0 = call @gate.meet(%a) : (i32) -> i32
    return %0 : i32
  }
"""
SOURCE = COUNT_UP + DIVIDE + SPIN_ON_HOST + _MORE
LOOSE_S = 30.0  # for loaded machines


class Gate:
    """A module in Python in which calls meet: what shows that they run at once."""

    def __init__(self, count: int) -> None:
        self.barrier = threading.Barrier(count)
        self.module = iwh.PyModule("gate")
        self.module.function("meet", "0i_i")(self._meet)

    def _meet(self, number: int) -> int:
        self.barrier.wait(LOOSE_S)
        return number


@pytest.fixture
def load_pool(compile_wasm: Callable[..., Path]) -> Iterator[LoadPool]:
    """``load_pool(size, **options)``: SOURCE with scalar kernels, closed after the test."""
    pools = []
    archive = compile_wasm(SOURCE, "--iree-llvmcpu-target-cpu-features=")

    def load(size: int, **options: Any) -> iwh.ModulePool:
        options.setdefault("modules", [Gate(size).module])
        pools.append(iwh.load_pool(archive, size=size, **options))
        return pools[-1]

    yield load
    for pool in pools:
        pool.close()


def in_threads(calls: list[Callable[[], Any]]) -> list[Any]:
    """What each call returned or raised, when each had a thread."""
    results: list[Any] = [None] * len(calls)

    def run(index: int) -> None:
        try:
            results[index] = calls[index]()
        except iwh.Error as error:
            results[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_as_many_calls_run_at_once_on_every_engine(load_pool: LoadPool, engine_name: str) -> None:
    pool = load_pool(3, engine=engine_name)
    assert len(pool) == 3
    assert pool.engine.name == engine_name
    for _ in range(3):
        assert in_threads([lambda: pool.meet(7)] * 3) == [7, 7, 7]
    random = np.random.default_rng(1)
    arrays = [random.random(1000 + index, np.float32) for index in range(12)]
    results = in_threads([lambda array=array: pool.square(array) for array in arrays])  # type: ignore[misc]  # mypy knows no such lambda
    for array, result in zip(arrays, results, strict=True):
        np.testing.assert_array_equal(result, array * array)
    assert pool.statistics.submissions >= len(arrays)
    before = pool.statistics.submissions
    pool.square(arrays[0])
    assert pool.statistics.submissions > before


def test_the_face_is_that_of_a_module(load_pool: LoadPool) -> None:
    pool = load_pool(2)
    module = pool.modules[0]
    assert pool.name == module.name
    assert pool.functions == module.functions
    assert [*pool] == [*module]
    assert pool["square"].signature == module["square"].signature
    (view,) = pool.square.call_raw(np.full(2, 3, np.float32))
    assert isinstance(view, BufferView)
    np.testing.assert_array_equal(view.to_numpy(), [9, 9])
    with pytest.raises(AttributeError, match="exports no function 'sqare'"):
        _ = pool.sqare
    with pytest.raises(iwh.TrapError, match="divide by zero"):
        pool.divide(np.ones(4, np.int32), np.zeros(4, np.int32))
    assert {one.device.memory.limit for one in pool.modules} == {module.device.memory.limit}


def test_each_module_has_its_own_state_and_memory(load_pool: LoadPool) -> None:
    pool = load_pool(2)
    assert sorted(one.count_up() for one in pool.modules) == [1, 1]
    assert pool.modules[0].device is not pool.modules[1].device
    assert pool.modules[0].device.engine is pool.modules[1].device.engine


def test_more_calls_wait(load_pool: LoadPool) -> None:
    pool = load_pool(2, isolation=None)
    results = in_threads([pool.count_up] * 20)
    counts = [one.count_up() - 1 for one in pool.modules]
    assert sorted(results) == sorted([*range(1, counts[0] + 1), *range(1, counts[1] + 1)])
    assert sum(counts) == 20


def test_a_call_that_waits_times_out(load_pool: LoadPool) -> None:
    pool = load_pool(1)
    thread = threading.Thread(target=in_threads, args=([lambda: pool.spin_on_host(-1)],))
    thread.start()
    while pool.modules[0]._caller.running is None:
        assert thread.is_alive()
    before = time.monotonic()
    with pytest.raises(iwh.CallTimeoutError, match=r"timeout of 0\.05 s"):
        pool.count_up(timeout=0.05)
    assert time.monotonic() - before < LOOSE_S
    while thread.is_alive():  # the first attempt may come before the call
        pool.cancel()
    thread.join()
    assert pool.count_up() == 1


def test_ctrl_c_anywhere_leaves_the_pool_whole() -> None:
    """At every point where Python looks at signals between the start of a call and its end."""
    turns = Turns(1)

    def point_of(target: int) -> int:
        """Interrupts a call at that point; the points that there were before."""
        count = 0

        def profile(frame: Any, event: str, argument: object) -> None:
            nonlocal count
            if event in ("call", "c_return") and frame.f_code.co_name != "point_of":
                count += 1
                if count == target:
                    sys.setprofile(None)
                    raise KeyboardInterrupt

        sys.setprofile(profile)
        try:
            turns.run(Call(), lambda index: index)
        finally:
            sys.setprofile(None)
        return count

    total = point_of(0)
    assert total > 5
    for target in range(1, total + 1):
        with pytest.raises(KeyboardInterrupt):
            point_of(target)
        results: list[int] = []

        def again(into: list[int] = results) -> None:
            into.append(turns.run(Call(LOOSE_S), lambda index: index))

        again()
        other = threading.Thread(target=again)
        other.start()
        other.join()
        assert results == [0, 0], target


def test_whoever_waits_first_is_next() -> None:
    turns = Turns(1)
    order: list[int] = []

    def wait(number: int) -> None:
        turns.run(Call(LOOSE_S), lambda _: order.append(number))

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(4)]

    def start(_: int) -> None:
        for count, thread in enumerate(threads, 1):
            thread.start()
            while len(turns._waiting) < count:
                assert thread.is_alive()

    turns.run(Call(), start)
    wait(4)
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3, 4]


def test_a_call_inside_of_all_modules_is_refused(load_pool: LoadPool) -> None:
    module = iwh.PyModule("gate")
    pools: list[iwh.ModulePool] = []
    module.function("meet", "0i_i")(lambda number: pools[number].meet(0))
    pools.append(load_pool(2, modules=[module]))
    with pytest.raises(iwh.InvocationError, match="on this very thread"):
        pools[0].meet(0)
    assert pools[0].count_up() == 1


def test_cancel_ends_all_that_run(load_pool: LoadPool) -> None:
    pool = load_pool(2)
    results: list[Any] = []
    thread = threading.Thread(
        target=lambda: results.extend(in_threads([lambda: pool.spin_on_host(-1)] * 2))
    )
    thread.start()
    while thread.is_alive():
        pool.cancel()
    thread.join()
    assert [type(one) for one in results] == [iwh.InterruptedCallError] * 2
    assert pool.spin_on_host(10) == 10


def test_timeouts_where_the_engine_cannot_interrupt(load_pool: LoadPool) -> None:
    pool = load_pool(2, engine="wasm3")
    assert Feature.INTERRUPT not in pool.engine.features
    with pytest.raises(iwh.EngineError, match=r'timeout is 1, but wasm3.*isolation="process"'):
        pool.count_up(timeout=1)
    assert [one.count_up() for one in pool.modules] == [1, 1]


def test_an_event_loop_awaits_as_many_calls(load_pool: LoadPool) -> None:
    pool = load_pool(3)

    async def main() -> None:
        assert await asyncio.gather(*(pool.meet.aio(index) for index in range(6))) == [*range(6)]
        spinning = [asyncio.create_task(pool.spin_on_host.aio(-1)) for _ in range(3)]
        waiting = asyncio.create_task(pool.count_up.aio())
        await asyncio.sleep(0.1)
        for task in spinning:
            task.cancel()
        assert await waiting == 1
        for task in spinning:
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())


def test_a_stream_is_read_once(compile_wasm: Callable[..., Path]) -> None:
    class Stream:
        def __init__(self, data: bytes) -> None:
            self.data = data

        def read(self) -> bytes:
            data, self.data = self.data, b""
            return data

    stream = Stream(compile_wasm("func.func @two(%a: i32) -> i32 { return %a : i32 }").read_bytes())
    with iwh.load_pool(stream, size=2) as pool:  # type: ignore[arg-type]  # as a file
        assert pool.two(2) == 2


def test_processes_in_a_pool(compile_wasm: Callable[..., Path]) -> None:
    archive = compile_wasm(
        """
        util.global private @w = #flow.parameter.named<"model"::"w"> : tensor<4xf32>
        func.func @add(%a: tensor<4xf32>) -> tensor<4xf32> {
          %w = util.global.load @w : tensor<4xf32>
          %0 = arith.addf %a, %w : tensor<4xf32>
          return %0 : tensor<4xf32>
        }
        """
    )
    weights = np.arange(4, dtype=np.float32)
    with iwh.load_pool(
        archive, size=2, isolation="process", parameters={"model": {"w": weights}}
    ) as pool:
        process_ids = {one.process_id for one in pool.modules}
        assert len(process_ids) == 2
        assert os.getpid() not in process_ids
        arrays = [np.full(4, index, np.float32) for index in range(8)]
        results = in_threads([lambda array=array: pool.add(array) for array in arrays])  # type: ignore[misc]  # as above
        for array, result in zip(arrays, results, strict=True):
            np.testing.assert_array_equal(result, array + weights)
    assert {one.process_id for one in pool.modules} == {None}


def test_wrong_pools(load_pool: LoadPool, compile_wasm: Callable[..., Path]) -> None:
    pool = load_pool(1)
    for size in (0, -1, 1.5):
        with pytest.raises(iwh.ArgumentError, match="expected a whole number, 1 or more"):
            load_pool(size)
    with pytest.raises(iwh.ArgumentError, match="each module of a pool has its own"):
        load_pool(1, device=pool.modules[0].device)
    with pytest.raises(iwh.EngineError, match="threads"):
        load_pool(2, engine="wasm3", threads=2)
    pool.close()
    pool.close()
    with pytest.raises(iwh.ClosedError, match="after its close"):
        pool.count_up()
