"""Calls that an event loop waits for."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from busy_modules import ENDLESS, F4, SCALAR, Background

import iree_wasm_hal as iwh

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from busy_modules import Bench

_THREAD = "iree-wasm-calls"


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == _THREAD]


def test_many_calls_of_two_modules(bench: Bench) -> None:
    modules = [bench.load() for _ in range(2)]

    async def main() -> list[Any]:
        calls = [modules[n % 2].add.aio(F4 + n, copy=True) for n in range(40)]
        return await asyncio.gather(*calls)

    for n, result in enumerate(asyncio.run(main())):
        np.testing.assert_array_equal(result, (F4 + n) * 2)
    assert len(_threads()) == 2, "one for each module, however many calls there are"
    for module in modules:
        module.close()
    assert not _threads()


def test_errors_arrive(bench: Bench) -> None:
    module = bench.load()

    async def main() -> None:
        with pytest.raises(iwh.ArgumentError, match="add takes 1 argument, got 2"):
            await module.add.aio(F4, F4)
        with pytest.raises(iwh.ArgumentError, match="timeout is -1"):
            await module.add.aio(F4, timeout=-1)
        np.testing.assert_array_equal(await module.add.aio(F4), F4 * 2)
        module.close()
        with pytest.raises(iwh.ClosedError):
            await module.add.aio(F4)

    asyncio.run(main())


def test_the_loop_goes_on_meanwhile(interrupting: Bench) -> None:
    module = interrupting.load()

    async def main() -> int:
        ticks = 0
        task = asyncio.create_task(module.spin.aio(ENDLESS, timeout=0.3))
        while not task.done():
            ticks += 1
            await asyncio.sleep(0.001)
        with pytest.raises(iwh.CallTimeoutError):
            await task
        return ticks

    assert asyncio.run(main()) > 10


def test_waiting_calls_time_out_in_time(interrupting: Bench) -> None:
    """Also those that have not got a thread yet; the others get their turn."""
    module = interrupting.load()

    async def main() -> None:
        endless = asyncio.create_task(module.spin.aio(ENDLESS))
        await asyncio.sleep(0.05)
        calls = [module.add.aio(F4, timeout=0.05) for _ in range(5)]
        start = time.monotonic()
        late = await asyncio.gather(*calls, return_exceptions=True)
        assert time.monotonic() - start < 10
        assert [type(error) for error in late] == [iwh.CallTimeoutError] * 5
        assert not endless.done()
        module.cancel()
        with pytest.raises(iwh.InterruptedCallError):
            await endless
        np.testing.assert_array_equal(await module.add.aio(F4, timeout=30), F4 * 2)

    asyncio.run(main())


def test_cancelling_the_task_cancels_the_call(interrupting: Bench) -> None:
    module = interrupting.load()

    async def main() -> None:
        running = asyncio.create_task(module.spin.aio(ENDLESS))
        waiting = asyncio.create_task(module.spin.aio(ENDLESS))
        await asyncio.sleep(0.05)
        for task in (waiting, running):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        # With either call still there, this would have no turn.
        np.testing.assert_array_equal(await module.add.aio(F4, timeout=30), F4 * 2)

    asyncio.run(main())
    gc.collect()  # an exception that nobody took would be logged here


def test_engines_that_cannot_interrupt_drop_what_waits(stubborn: Bench) -> None:
    module = stubborn.load()

    async def main() -> None:
        running = asyncio.create_task(module.spin_on_host.aio(-1))
        waiting = asyncio.create_task(module.add.aio(F4))
        await asyncio.sleep(0.05)
        for task in (waiting, running):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        np.testing.assert_array_equal(await module.add.aio(F4), F4 * 2)

    asyncio.run(main())


def test_the_thread_ends_with_the_module(bench: Bench) -> None:
    module = iwh.load(bench.archive, engine=bench.engine)
    asyncio.run(_add(module))
    (thread,) = _threads()
    del module
    gc.collect()
    thread.join(60)
    assert not thread.is_alive()


async def _add(module: iwh.Module) -> Any:
    return await module.add.aio(F4)


ASYNC = "--iree-execution-model=async-external"


@pytest.fixture
def doubling(
    interrupting: Bench, compile_wasm: Callable[..., Path]
) -> tuple[iwh.Module, iwh.Module]:
    """Two modules with async exports, on one device."""
    source = """
      func.func @double(%a: tensor<4xf32>) -> tensor<4xf32> {
        %0 = arith.addf %a, %a : tensor<4xf32>
        return %0 : tensor<4xf32>
      }
    """
    device = interrupting.device()
    archive = compile_wasm(source, ASYNC, SCALAR)
    return iwh.load(archive, device=device), iwh.load(archive, device=device)


def test_invocations_are_awaited(doubling: tuple[iwh.Module, iwh.Module]) -> None:
    one, other = doubling

    async def main() -> None:
        gate = iwh.Fence()
        first = one.double.invoke_async(F4, wait=gate)
        second = other.double.invoke_async(F4 + 1, wait=first.fence)
        assert not second.is_done
        asyncio.get_running_loop().call_later(0.05, gate.signal)
        np.testing.assert_array_equal(await second, (F4 + 1) * 2)
        np.testing.assert_array_equal(await first, F4 * 2)

    asyncio.run(main())


def test_an_invocation_that_nothing_starts_times_out(
    doubling: tuple[iwh.Module, iwh.Module],
) -> None:
    one, other = doubling
    gate = iwh.Fence()
    first = one.double.invoke_async(F4, wait=gate, timeout=0.05)
    second = other.double.invoke_async(F4, wait=first.fence)
    with pytest.raises(iwh.CallTimeoutError, match=r"timeout of 0\.05 s"):
        second.results(60)
    with pytest.raises(iwh.CallTimeoutError):
        asyncio.run(_await(first))
    dispatches = one.statistics.dispatches
    gate.signal()
    assert one.statistics.dispatches == dispatches, "a call that is over does not begin"
    np.testing.assert_array_equal(one.double(F4, timeout=30), F4 * 2)


async def _await(invocation: iwh.Invocation) -> Any:
    return await invocation


@pytest.mark.parametrize("how", ["invocation", "module", "task"])
def test_an_invocation_is_cancelled(how: str, doubling: tuple[iwh.Module, iwh.Module]) -> None:
    one, other = doubling
    gate = iwh.Fence()
    first = one.double.invoke_async(F4, wait=gate)
    second = other.double.invoke_async(F4, wait=gate)

    async def cancel_task() -> None:
        task = asyncio.create_task(_await(first))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    if how == "task":
        asyncio.run(cancel_task())
    else:
        (first.cancel if how == "invocation" else one.cancel)()
    with pytest.raises(iwh.InterruptedCallError, match="cancelled"):
        first.results(60)
    gate.signal()
    np.testing.assert_array_equal(second.results(60), F4 * 2)
    second.cancel()  # of what is over nothing changes
    np.testing.assert_array_equal(second.results(60), F4 * 2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a POSIX matter")
def test_a_forked_child_has_threads_of_its_own(compile_wasm: Callable[..., Path]) -> None:
    program = f"""
import asyncio, os, sys
import numpy as np
import iree_wasm_hal as iwh

a = np.arange(4, dtype=np.float32)
module = iwh.load({str(compile_wasm(SIMPLE, SCALAR))!r}, engine="wamr")

async def main():
    return (await module.double.aio(a, timeout=60)).tolist()

print(asyncio.run(main()), flush=True)
if child := os.fork():
    print(os.waitpid(child, 0)[1])
else:
    print(asyncio.run(main()), flush=True)
    os._exit(0)
"""
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    twice = "[0.0, 2.0, 4.0, 6.0]"
    assert (done.stdout.splitlines(), done.stderr) == ([twice, twice, "0"], "")


SIMPLE = """
  func.func @double(%a: tensor<4xf32>) -> tensor<4xf32> {
    %0 = arith.addf %a, %a : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
"""


def test_closed_within_a_call_while_others_wait(
    bench: Bench, compile_wasm: Callable[..., Path]
) -> None:
    """As a signal handler of the thread that calls may do."""
    native = iwh.PyModule("host")
    waits, ended = threading.Event(), list[BaseException]()

    async def wait_for_turn() -> None:
        call = asyncio.ensure_future(outer.outer.aio(2))
        await asyncio.sleep(0)  # its job is given to a thread
        waits.set()
        with pytest.raises(iwh.ClosedError) as caught:
            await call
        ended.append(caught.value)

    other = threading.Thread(target=lambda: asyncio.run(wait_for_turn()), daemon=True)

    @native.function("close", "0i_i")
    def close(value: int) -> int:
        other.start()
        assert waits.wait(20)
        outer.close()
        return value

    archive = compile_wasm(
        """
        func.func private @host.close(%a: i32) -> i32
        func.func @outer(%a: i32) -> i32 {
          %0 = call @host.close(%a) : (i32) -> i32
          return %0 : i32
        }
        """,
        SCALAR,
    )
    outer = iwh.load(archive, device=bench.device(), modules=[native])
    calling = Background(lambda: outer.outer(1))
    assert calling.join() == 1
    other.join(20)
    assert len(ended) == 1
