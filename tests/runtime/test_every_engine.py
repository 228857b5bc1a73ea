"""What a user does with a module, on every engine: scalar kernels, so that all take part."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

import iree_wasm_hal as iwh
from iree_wasm_hal.engine import Feature

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

    LoadOn = Callable[..., iwh.Module]

SOURCE = """
  util.global private mutable @sum = dense<0.0> : tensor<256xf32>
  func.func @accumulate(%a: tensor<256xf32>) -> tensor<256xf32> {
    %0 = util.global.load @sum : tensor<256xf32>
    %1 = arith.addf %0, %a : tensor<256xf32>
    util.global.store %1, @sum : tensor<256xf32>
    return %1 : tensor<256xf32>
  }
  func.func @matmul(%a: tensor<?x96xf32>, %b: tensor<96x?xf32>) -> tensor<?x?xf32> {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %zero = arith.constant 0.0 : f32
    %m = tensor.dim %a, %c0 : tensor<?x96xf32>
    %n = tensor.dim %b, %c1 : tensor<96x?xf32>
    %empty = tensor.empty(%m, %n) : tensor<?x?xf32>
    %fill = linalg.fill ins(%zero : f32) outs(%empty : tensor<?x?xf32>) -> tensor<?x?xf32>
    %0 = linalg.matmul ins(%a, %b : tensor<?x96xf32>, tensor<96x?xf32>)
        outs(%fill : tensor<?x?xf32>) -> tensor<?x?xf32>
    return %0 : tensor<?x?xf32>
  }
  func.func @widen(%a: tensor<?xi32>) -> tensor<?xi64> {
    %0 = arith.extsi %a : tensor<?xi32> to tensor<?xi64>
    return %0 : tensor<?xi64>
  }
"""
SCALAR = "--iree-llvmcpu-target-cpu-features="


@pytest.fixture
def load_on(
    compile_wasm: Callable[..., Path], engine_name: str
) -> Iterator[Callable[..., iwh.Module]]:
    """``load_on(**options)``: SOURCE on the engine under test, closed after the test."""
    modules: list[iwh.Module] = []

    def load(**options: Any) -> iwh.Module:
        modules.append(iwh.load(compile_wasm(SOURCE, SCALAR), engine=engine_name, **options))
        return modules[-1]

    yield load
    for module in modules:
        module.close()


def check_matmul(module: iwh.Module, seed: int) -> None:
    random = np.random.default_rng(seed)
    for m, n in [(1, 1), (33, 65), (64, 48)]:
        # small integers: every partial sum is exact in f32
        a = random.integers(-8, 8, (m, 96)).astype(np.float32)
        b = random.integers(-8, 8, (96, n)).astype(np.float32)
        np.testing.assert_array_equal(module.matmul(a, b), a @ b)


def test_numbers_and_shapes(load_on: LoadOn) -> None:
    module = load_on()
    check_matmul(module, 1)
    values = np.array([-(2**31), -1, 0, 1, 2**31 - 1], np.int32)
    np.testing.assert_array_equal(module.widen(values), values.astype(np.int64))


def test_state_is_the_modules_own(load_on: LoadOn) -> None:
    first, second = load_on(), load_on()
    ones = np.ones(256, np.float32)
    for count in range(1, 5):
        np.testing.assert_array_equal(first.accumulate(ones), count * ones)
    np.testing.assert_array_equal(second.accumulate(ones), ones)


def test_memory_grows_under_results_that_live_on(load_on: LoadOn) -> None:
    module = load_on()
    kept = [np.asarray(module.widen(np.full(1000, index, np.int32))) for index in range(4)]
    large = np.arange(3_000_000, dtype=np.int32)  # 36 MB with the result
    np.testing.assert_array_equal(module.widen(large), large)
    for index, array in enumerate(kept):
        assert (array == index).all()
    del module
    np.testing.assert_array_equal(kept[3], np.full(1000, 3))


def test_results_outlive_the_module(load_on: LoadOn) -> None:
    module = load_on()
    result = module.widen(np.arange(5000, dtype=np.int32))
    module.close()
    np.testing.assert_array_equal(result, np.arange(5000))


def test_too_little_memory_is_a_limit_and_the_module_goes_on(load_on: LoadOn) -> None:
    module = load_on(max_memory_bytes=8 << 20)
    with pytest.raises(iwh.LimitError):
        module.widen(np.zeros(3_000_000, np.int32))
    check_matmul(module, 2)


def test_modules_run_in_threads_of_their_own(load_on: LoadOn) -> None:
    modules = [load_on() for _ in range(3)]
    failures: list[BaseException] = []

    def run(module: iwh.Module, seed: int) -> None:
        try:
            for step in range(5):
                check_matmul(module, seed + step)
        except (AssertionError, iwh.Error) as error:
            failures.append(error)

    threads = [
        threading.Thread(target=run, args=(module, 10 * index))
        for index, module in enumerate(modules)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_two_workers_or_a_clear_no(load_on: LoadOn, engine_name: str) -> None:
    engine = iwh.open_engine(engine_name)
    has_threads = Feature.THREADS in engine.info.features
    engine.close()
    if has_threads:
        module = load_on(threads=2)
        for seed in range(5):
            check_matmul(module, seed)
    else:
        with pytest.raises(iwh.EngineError, match=f"threads.*{engine_name}|{engine_name}.*threads"):
            load_on(threads=2)


_OFFERS = (
    "wasm32-simd128,wasm32",
    "wasm32,wasm32-simd128",
    "wasm32-simd128,wasm32-simd128-wide",
    "wasm32-simd128-wide,wasm32-simd128,wasm32",
    "wasm32-simd128-wide,wasm32",
)


@pytest.mark.parametrize("targets", _OFFERS)
def test_of_several_targets_the_best_runs(
    engine_name: str,
    targets: str,
    made_once: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = iwh.open_engine(engine_name)
    features = engine.info.features
    engine.close()
    offered = targets.split(",")
    best_first = ["wasm32-simd128-wide", "wasm32-simd128", "wasm32"]
    if Feature.WIDE_VECTORS not in features:
        best_first = ["wasm32-simd128", "wasm32-simd128-wide", "wasm32"]
    if Feature.SIMD128 not in features:
        best_first = ["wasm32"]
    expected = next((name for name in best_first if name in offered), None)
    source = SOURCE.encode()
    archive = made_once(
        f"offers-{targets}.vmfb", lambda output: iwh.compile(source, output=output, target=targets)
    )
    if expected is None:
        with pytest.raises(iwh.IncompatibleTargetError, match=r"needs simd128.*wasmtime"):
            iwh.load(archive, engine=engine_name)
        return
    formats = []
    prepare = iwh.Device.prepare_executable

    def record(device: iwh.Device, executable_format: str, *rest: Any, **named: Any) -> Any:
        formats.append(executable_format)
        return prepare(device, executable_format, *rest, **named)

    monkeypatch.setattr(iwh.Device, "prepare_executable", record)
    with iwh.load(archive, engine=engine_name) as module:
        check_matmul(module, 3)
    assert formats == [expected.replace("wasm32", "system-wasm-wasm_32")]


def test_modules_come_and_go(compile_wasm: Callable[..., Path], engine_name: str) -> None:
    archive = compile_wasm(SOURCE, SCALAR)
    for seed in range(20):
        with iwh.load(archive, engine=engine_name) as module:
            check_matmul(module, seed)
