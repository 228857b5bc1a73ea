"""A module in a child process beside the same module in this one."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import iree_wasm_hal as iwh
from iree_wasm_hal.isolation.tensors import TypedArray

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    LoadIsolated = Callable[..., iwh.IsolatedModule]

F4 = np.arange(4, dtype=np.float32)
ONES = np.ones(4, np.int32)


@pytest.fixture(scope="module")
def local(archive: Path) -> Iterator[iwh.Module]:
    with iwh.load(archive) as module:
        yield module


def test_the_face_is_the_same(isolated: iwh.IsolatedModule, local: iwh.Module) -> None:
    assert isolated.name == local.name
    assert isolated.functions == local.functions
    assert isolated.engine == local.engine
    assert [*isolated] == [*local]
    for name in local:
        for member in ("name", "signature", "is_async", "result_types"):
            assert getattr(isolated[name], member) == getattr(local[name], member)
        assert isolated[name].argument_count == local[name].argument_count
        assert isolated[name].result_count == local[name].result_count
    with pytest.raises(AttributeError, match="exports no function 'mian'"):
        _ = isolated.mian


def test_values_of_every_kind(isolated: iwh.IsolatedModule) -> None:
    matrix = np.arange(6).reshape(3, 2).T  # not contiguous
    number, truth, array = isolated.swap(matrix.astype(">i8"), np.bool_(1), np.float64(0.1))
    assert number == np.float32(0.1)
    assert truth is True
    assert array.dtype == np.int64
    np.testing.assert_array_equal(array, matrix)
    assert isolated.nothing() is None
    np.testing.assert_array_equal(isolated.negate([1, -2]), [-1, 2])
    np.testing.assert_array_equal(isolated.negate(np.zeros(0, np.float32)), [])
    array[...] = 0  # the caller's own


def test_large_arrays(isolated: iwh.IsolatedModule) -> None:
    random = np.random.default_rng(6)
    for size in (10_000_000, 3, 10_000_001):
        data = random.random(size, np.float32)
        np.testing.assert_array_equal(isolated.negate(data), -data)
    assert isolated.device.memory.peak > 80_000_000


def test_many_arguments_are_no_long_message(compile_wasm: Callable[..., Path]) -> None:
    count = 600
    arguments = ", ".join(f"%a{index}: f64" for index in range(count))
    values = ", ".join(f"%a{index}" for index in range(count))
    types = ", ".join(["f64"] * count)
    source = f"func.func @same({arguments}) -> ({types}) {{ return {values} : {types} }}"
    numbers = np.random.default_rng(7).random(count)
    with iwh.load(compile_wasm(source), isolation="process") as module:
        assert module.same(*numbers) == tuple(numbers)


def calls_that_fail(module: Any) -> dict[str, Callable[[], object]]:
    return {
        "trap": lambda: module.divide(ONES, ONES * 0),
        "assertion": lambda: module.positive(-1),
        "count": lambda: module.divide(ONES),
        "dtype": lambda: module.divide(ONES, F4),
        "type": lambda: module.divide(ONES, object()),
        "number": lambda: module.positive(2**40),
        "memory": lambda: module.negate(np.zeros(1 << 29, np.float32)),
        "timeout": lambda: module.positive(1, timeout=-1),
    }


@pytest.mark.parametrize("name", calls_that_fail(None))
def test_errors_are_the_same(
    isolated: iwh.IsolatedModule, archive: Path, name: str, load_isolated: LoadIsolated
) -> None:
    options: dict[str, Any] = {"max_memory_bytes": 32 << 20} if name == "memory" else {}
    remote = load_isolated(**options) if options else isolated
    with iwh.load(archive, isolation=None, **options) as near, pytest.raises(iwh.Error) as expected:
        calls_that_fail(near)[name]()
    with pytest.raises(iwh.Error) as caught:
        calls_that_fail(remote)[name]()
    assert type(caught.value) is type(expected.value)
    assert str(caught.value) == str(expected.value)
    assert vars(caught.value) == {
        key: value if isinstance(value, str | int | tuple | None) else None
        for key, value in vars(expected.value).items()
    }
    np.testing.assert_array_equal(remote.divide(ONES, ONES), ONES)


def test_what_cannot_leave_a_process(isolated: iwh.IsolatedModule, local: iwh.Module) -> None:
    (view,) = local["negate"].call_raw(F4)
    for argument in (view, iwh.Fence()):
        with pytest.raises(iwh.ArgumentError, match=r"negate, an argument a .* pass an array"):
            isolated.negate(argument)
    with pytest.raises(iwh.ArgumentError, match="cannot be sent to the module's process"):
        isolated.negate(lambda: None)
    np.testing.assert_array_equal(isolated.negate(F4), -F4)


def test_options_that_have_no_meaning_elsewhere(archive: Path, local: iwh.Module) -> None:
    options: list[tuple[dict[str, Any], str]] = [
        ({"engine": local.device.engine}, "takes an engine's name"),
        ({"device": local.device}, "a device lives in this process"),
        ({"trace_sink": print}, "a trace_sink lives in this process"),
        ({"modules": [iwh.PyModule("mine"), lambda: None]}, "cannot be sent"),
    ]
    for option, message in options:
        with pytest.raises(iwh.ArgumentError, match=message):
            iwh.load(archive, isolation="process", **option)
    with pytest.raises(iwh.ArgumentError, match="expected 'process' or None"):
        iwh.load(archive, isolation="thread")  # type: ignore[call-overload]  # wrong on purpose


def test_other_systems_are_refused(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(iwh.ArgumentError, match=r"needs Linux.* this is darwin"):
        iwh.load(archive, isolation="process")


def test_what_cannot_be_loaded_says_why(archive: Path) -> None:
    with pytest.raises(iwh.LoadError, match=r"no-such\.vmfb: cannot be opened"):
        iwh.load("no-such.vmfb", isolation="process")
    with pytest.raises(iwh.ArchiveError, match="<bytes>"):
        iwh.load(b"no archive", isolation="process")
    with pytest.raises(iwh.EngineUnavailableError, match="did you mean 'wasmtime'"):
        iwh.load(archive, engine="wasmtme", isolation="process")


def test_sources_of_every_kind(archive: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.vmfb"
    copy.write_bytes(archive.read_bytes())
    with copy.open("rb") as file:
        for source in (copy.read_bytes(), file):
            with iwh.load(source, isolation="process") as module:
                assert module.positive(3) == 3


def test_parameters_are_copied_once(compile_wasm: Callable[..., Path], tmp_path: Path) -> None:
    source = """
      util.global private @w = #flow.parameter.named<"model"::"w"> : tensor<4xf32>
      func.func @add(%a: tensor<4xf32>) -> tensor<4xf32> {
        %w = util.global.load @w : tensor<4xf32>
        %0 = arith.addf %a, %w : tensor<4xf32>
        return %0 : tensor<4xf32>
      }
    """
    weights = F4 + 10
    with iwh.load(
        compile_wasm(source), parameters={"model": {"w": weights}}, isolation="process"
    ) as module:
        np.testing.assert_array_equal(module.add(F4), F4 + F4 + 10)
        weights[:] = 0  # a new process gets what load was given
        assert module.process_id is not None
        subprocess.run(["kill", "-9", str(module.process_id)], check=True)
        while module.process_id is not None:
            pass
        np.testing.assert_array_equal(module.add(F4), F4 + F4 + 10)


def test_a_cache_crosses(archive: Path, tmp_path: Path) -> None:
    cache = iwh.CodeCache(tmp_path / "cache")
    for _ in range(2):
        with iwh.load(archive, isolation="process", cache=cache) as module:
            assert module.positive(1) == 1
    assert [*(tmp_path / "cache").iterdir()]


def test_element_types_that_numpy_lacks(compile_wasm: Callable[..., Path]) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    source = "func.func @same(%a: tensor<?xbf16>) -> tensor<?xbf16> { return %a : tensor<?xbf16> }"
    array = np.arange(5).astype(ml_dtypes.bfloat16)
    with iwh.load(compile_wasm(source), isolation="process") as module:
        result = module.same(array)
        (typed,) = module.same.call_raw(array)
    assert result.dtype == array.dtype
    assert result.tobytes() == array.tobytes()
    assert isinstance(typed, TypedArray)
    assert typed.array.tobytes() == array.tobytes()


def test_many_threads_call_one_module(isolated: iwh.IsolatedModule) -> None:
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        try:
            for size in (3, 40_000, 7):
                data = random.random(size, np.float32)
                np.testing.assert_array_equal(isolated.negate(data), -data)
                assert isolated.device.memory.used > 0
                with pytest.raises(iwh.TrapError, match="divide by zero"):
                    isolated.divide(ONES, ONES * 0)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_statistics_during_a_call(load_isolated: LoadIsolated) -> None:
    module = load_isolated()
    module.positive(1)

    def spin() -> None:
        with pytest.raises(iwh.InterruptedCallError):
            module.spin(ONES)

    thread = threading.Thread(target=spin)
    before = module.statistics
    thread.start()
    while module.statistics.submissions == before.submissions:
        assert thread.is_alive()
    assert module.device.memory.limit > module.device.memory.used > 0
    module.cancel()
    thread.join()


def test_an_event_loop_awaits_calls(isolated: iwh.IsolatedModule) -> None:
    async def main() -> None:
        arrays = [np.full(3, index, np.float32) for index in range(5)]
        results = await asyncio.gather(*(isolated.negate.aio(one) for one in arrays))
        for array, result in zip(arrays, results, strict=True):
            np.testing.assert_array_equal(result, -array)

    asyncio.run(main())


def test_calls_after_close(load_isolated: LoadIsolated) -> None:
    module = load_isolated()
    module.close()
    module.close()
    for use in (module.nothing, lambda: module.statistics, lambda: module.device.memory):
        with pytest.raises(iwh.ClosedError, match="after its close"):
            use()
    assert module.process_id is None


@pytest.mark.parametrize("engine", ["wasmtime", "wasm3"])
def test_the_command_line_prints_the_same(archive: Path, engine: str) -> None:
    command = [str(Path(sys.executable).parent / "iree-wasm"), "run", str(archive)]
    command += [f"--engine={engine}", "--function=negate", "--input=3xf32=1 2 3"]
    near, far = (
        subprocess.run([*command, *more], capture_output=True, text=True, check=True).stdout
        for more in ((), ("--isolation=process",))
    )
    assert near == far
    assert "3xf32=-1 -2 -3" in far
