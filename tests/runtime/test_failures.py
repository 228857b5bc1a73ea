"""What goes wrong while a program runs: its own error, and nobody else's."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
from mlir_functions import POSITIVE, SPIN, SPIN_AT_START, SPIN_ON_HOST

import iree_wasm_hal as iwh

LoadWasm = Callable[..., iwh.Module]

_MORE = """
  func.func @divide(%a: tensor<64xi32>, %b: tensor<64xi32>) -> tensor<64xi32> {
    %0 = arith.divsi %a, %b : tensor<64xi32>
    return %0 : tensor<64xi32>
  }
  func.func @add(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32> {
    %0 = arith.addf %a, %b : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
"""
SOURCE = _MORE + POSITIVE + SPIN_ON_HOST
F4 = np.arange(4, dtype=np.float32)


def test_a_kernel_that_traps_is_named_and_the_module_goes_on(load_wasm: LoadWasm) -> None:
    module, other = load_wasm(SOURCE), load_wasm(SOURCE)
    a = np.full(64, 7, np.int32)
    zero_at_end = np.ones(64, np.int32)
    zero_at_end[63] = 0
    for _ in range(3):
        with pytest.raises(iwh.TrapError, match="divide_dispatch_0") as caught:
            module.divide(a, zero_at_end)
        assert caught.value.kind == "integer divide by zero"
        np.testing.assert_array_equal(module.divide(a, a), np.ones(64))
        np.testing.assert_array_equal(module.add(F4, F4), F4 * 2)
    np.testing.assert_array_equal(other.divide(a, a), np.ones(64))


def test_a_program_that_fails_says_why_and_goes_on(load_wasm: LoadWasm) -> None:
    module = load_wasm(SOURCE)
    with pytest.raises(iwh.InvocationError, match="a must be positive") as caught:
        module.positive(-1)
    assert caught.value.status != "OK"
    assert module.positive(3) == 3


def test_a_time_out_ends_host_code_and_kernels(load_wasm: LoadWasm) -> None:
    module = load_wasm(SOURCE, timeout=0.5)
    spinning = load_wasm(SPIN, timeout=0.5)
    calls: list[Callable[[], object]] = [
        lambda: module.spin_on_host(-1),
        lambda: spinning.spin(np.zeros(4, np.int32)),
    ]
    for call in calls:
        with pytest.raises(iwh.CallTimeoutError, match=r"timeout of 0\.5 s"):
            call()
    np.testing.assert_array_equal(module.add(F4, F4, timeout=60), F4 * 2)
    assert module.spin_on_host(1000, timeout=60) == 1000
    ended = np.full(4, -1, np.int32)
    np.testing.assert_array_equal(spinning.spin(ended, timeout=60), ended)


def test_another_thread_cancels_a_call(load_wasm: LoadWasm) -> None:
    module, spinning = load_wasm(SOURCE), load_wasm(SPIN)
    calls: list[tuple[iwh.Module, Callable[[], object]]] = [
        (module, lambda: module.spin_on_host(-1)),
        (spinning, lambda: spinning.spin(np.zeros(4, np.int32))),
    ]
    for target, call in calls:
        done = threading.Event()

        def cancel(target: iwh.Module = target, done: threading.Event = done) -> None:
            # The call may not have begun at the first attempts.
            while not done.wait(0.02):
                target.cancel()

        thread = threading.Thread(target=cancel)
        thread.start()
        with pytest.raises(iwh.InterruptedCallError):
            call()
        done.set()
        thread.join()
    np.testing.assert_array_equal(module.add(F4, F4), F4 * 2)


INITIALISERS = [
    SPIN_AT_START,
    """
      util.initializer {
        %c0 = arith.constant 0 : index
        %device = hal.devices.get %c0 : !hal.device
        %f = hal.fence.create device(%device : !hal.device) flags("None") : !hal.fence
        %forever = arith.constant -1 : i32
        %0 = hal.fence.await until([%f]) timeout_millis(%forever) flags("None") : i32
        util.return
      }
    """,
]


@pytest.mark.parametrize("source", INITIALISERS)
def test_a_time_out_ends_the_initialisation(load_wasm: LoadWasm, source: str) -> None:
    with pytest.raises(iwh.CallTimeoutError):
        load_wasm(source, timeout=0.3)


AWAIT = """
  util.func public @await(%f: !hal.fence) -> i32 {
    %forever = arith.constant -1 : i32
    %status = hal.fence.await until([%f]) timeout_millis(%forever) flags("None") : i32
    util.return %status : i32
  }
"""


def test_a_wait_for_a_fence_can_be_ended(load_wasm: LoadWasm) -> None:
    module = load_wasm(AWAIT, timeout=0.5)
    with pytest.raises(iwh.CallTimeoutError, match="timeout"):
        module["await"](iwh.Fence())
    module = load_wasm(AWAIT)
    fence, done = iwh.Fence(), threading.Event()

    def cancel() -> None:
        while not done.wait(0.02):
            module.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(iwh.InterruptedCallError):
        module["await"](fence)
    done.set()
    thread.join()
    fence.signal()
    assert module["await"](fence) == 0


def test_many_threads_call_two_modules_on_one_device(load_wasm: LoadWasm, engine: object) -> None:
    device = iwh.Device(engine)  # type: ignore[arg-type]  # the fixture's engine
    modules = [load_wasm(SOURCE, device=device) for _ in range(2)]
    failures: list[str] = []

    def work(number: int) -> None:
        module = modules[number % 2]
        a = np.full(4, number, np.float32)
        x = a
        for _ in range(50):
            x = module.add(x, a)
        if not np.array_equal(x, a * 51):
            failures.append(f"{number}: {x}")
        zero = np.zeros(64, np.int32)
        try:
            module.divide(zero, zero)
        except iwh.TrapError:
            return
        failures.append(f"{number}: no trap")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for module in modules:
        module.close()
    device.close()


def test_wasm64_archives_get_a_memory_with_64_bit_addresses(engine: object) -> None:
    source = """
      func.func @add(%a: tensor<?xf32>, %b: tensor<?xf32>) -> tensor<?xf32> {
        %0 = arith.addf %a, %b : tensor<?xf32>
        return %0 : tensor<?xf32>
      }
    """
    archive = iwh.compile(source.encode(), target="wasm64")
    with iwh.load(archive, engine=engine) as module:  # type: ignore[call-overload]  # the fixture's
        np.testing.assert_array_equal(module.add(F4, F4), F4 * 2)


def test_a_time_out_beyond_the_systems_time_types(load_wasm: LoadWasm) -> None:
    module = load_wasm(SOURCE, timeout=1e18)
    np.testing.assert_array_equal(module.add(F4, F4), F4 * 2)
    np.testing.assert_array_equal(module.add(F4, F4), F4 * 2)
