from __future__ import annotations

import contextlib
import dataclasses
import io
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import iree_wasm_hal as iwh
from iree_wasm_hal.engine import Feature

if TYPE_CHECKING:
    from iree_wasm_hal.engine import Engine

LoadWasm = Callable[..., iwh.Module]

ARCHIVES = Path(__file__).parent / "archives"
RELEASES = ["3.11", "3.12", "3.13"]
ARCHIVE = ARCHIVES / "model-3.13.vmfb"
F4 = np.arange(4, dtype=np.float32)


def use(module: iwh.Module) -> None:
    np.testing.assert_array_equal(module.add(F4, F4), F4 * 2)
    step = np.arange(4, dtype=np.int32) + 1
    for number in range(1, 4):
        total, first = module.accumulate(step)
        np.testing.assert_array_equal(total, step * number)
        assert first == number
    a = np.arange(24, dtype=np.float32).reshape(3, 8)
    np.testing.assert_allclose(module.matmul(a), a @ np.full((8, 8), 0.5, np.float32), rtol=1e-6)


@pytest.mark.parametrize("release", RELEASES)
def test_archives_of_every_supported_release_run(release: str, engine: Engine) -> None:
    with iwh.load(ARCHIVES / f"model-{release}.vmfb", engine=engine) as module:
        use(module)


def test_every_kind_of_source(engine: Engine, tmp_path: Path) -> None:
    data = ARCHIVE.read_bytes()
    with ARCHIVE.open("rb") as file:
        for source in (
            str(ARCHIVE),
            ARCHIVE,
            data,
            bytearray(data),
            memoryview(data),
            file,
            io.BytesIO(data),
        ):
            with iwh.load(source, engine=engine) as module:
                use(module)


def test_an_engine_by_name() -> None:
    with iwh.load(ARCHIVE, engine="wasmtime") as module:
        use(module)
        assert module.engine.name == "wasmtime"


def test_an_unknown_engine_says_how_to_install_it() -> None:
    with pytest.raises(iwh.EngineUnavailableError, match="pip install 'iree-wasm-hal"):
        iwh.load(ARCHIVE, engine="nosuch")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("/nonexistent/x.vmfb", "/nonexistent/x.vmfb: cannot be opened: No such file"),
        ("/dev/null", "/dev/null: not a regular file"),
        (b"", "<bytes>"),
        (b"hello", "<bytes>"),
        (b"PK\x03\x04" + bytes(200), "<bytes>"),
        (bytes(4096), "<bytes>"),
        (12, "expected a path, bytes or a binary file, got int"),
        (io.StringIO("x"), "open the file in binary mode"),
    ],
)
def test_what_is_no_archive(source: object, message: str, engine: Engine) -> None:
    with pytest.raises(iwh.LoadError, match=message):
        iwh.load(source, engine=engine)  # type: ignore[call-overload]  # wrong on purpose


def test_truncated_archives(engine: Engine) -> None:
    data = ARCHIVE.read_bytes()
    for length in [*range(0, 200, 7), *range(200, len(data), 311), len(data) - 1]:
        with pytest.raises(iwh.LoadError):
            iwh.load(data[:length], engine=engine)


def test_damaged_archives_load_and_run_or_fail_with_an_error_of_ours(engine: Engine) -> None:
    data = ARCHIVE.read_bytes()
    draw = random.Random(20240229)
    arguments = {"add": (F4, F4), "accumulate": (np.arange(4, dtype=np.int32),)}
    loaded = 0
    for _ in range(200):
        mutant = bytearray(data)
        for _ in range(draw.choice([1, 1, 2, 4])):
            mutant[draw.randrange(len(mutant))] = draw.randrange(256)
        with (
            contextlib.suppress(iwh.Error),
            iwh.load(mutant, engine=engine, max_memory_bytes=64 << 20, timeout=1) as module,
        ):
            loaded += 1
            for name in module:
                with contextlib.suppress(iwh.Error):
                    module[name](*arguments.get(name, (np.ones((3, 8), np.float32),)))
    assert 0 < loaded < 200


def test_native_archives_say_which_target_to_compile_for(engine: Engine) -> None:
    with pytest.raises(iwh.IncompatibleTargetError) as caught:
        iwh.load(ARCHIVES / "native-x86_64.vmfb", engine=engine)
    message = str(caught.value)
    assert "native-x86_64.vmfb: the program's kernels have format" in message
    assert "embedded-elf-x86_64" in message
    assert "iree-wasm compile MODEL -o MODEL.vmfb --target wasm32-simd128" in message


def test_unknown_imports_are_named(load_wasm: LoadWasm) -> None:
    source = """
      util.func private @other.twice(%a: i32) -> i32
      util.func public @main(%a: i32) -> i32 {
        %0 = util.call @other.twice(%a) : (i32) -> i32
        util.return %0 : i32
      }
    """
    with pytest.raises(
        iwh.ImportResolutionError, match=r"needs a module 'other' \(for other\.twice\)"
    ):
        load_wasm(source)
    other = iwh.PyModule("other")
    other.function("twice", "0f_f")(lambda value: value * 2)
    with pytest.raises(iwh.ImportResolutionError, match=r"other\.twice.*0i_i.*served with '0f_f'"):
        load_wasm(source, modules=[other])


def test_inline_programs_are_refused_with_the_flag_to_drop(
    compile_wasm: Callable[..., Path], engine: Engine
) -> None:
    source = """
      func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {
        %0 = arith.addf %a, %a : tensor<4xf32>
        return %0 : tensor<4xf32>
      }
    """
    archive = compile_wasm(source, "--iree-execution-model=inline-dynamic")
    with pytest.raises(iwh.ImportResolutionError, match=r"module 'hal_(inline|loader)'; .*inline"):
        iwh.load(archive, engine=engine)


def test_out_of_linear_memory(engine: Engine) -> None:
    limit = 8 << 20
    with iwh.load(ARCHIVE, engine=engine, max_memory_bytes=limit) as module:
        with pytest.raises(iwh.LimitError) as caught:
            module.matmul(np.zeros((1 << 20, 8), np.float32))
        assert caught.value.name == "linear memory"
        assert caught.value.asked == 32 << 20
        assert limit - (64 << 10) <= caught.value.allowed <= limit
        assert "33554432 bytes asked for" in str(caught.value)
        assert "in use" in str(caught.value)
        use(module)


def test_two_modules_on_one_device_where_one_fails(engine: Engine, load_wasm: LoadWasm) -> None:
    device = iwh.Device(engine)
    good = iwh.load(ARCHIVE, device=device)
    bad = load_wasm(
        """
        func.func @fail(%a: i32) -> i32 {
          %zero = arith.constant 0 : i32
          %ok = arith.cmpi sgt, %a, %zero : i32
          cf.assert %ok, "a must be positive"
          return %a : i32
        }
        """,
        device=device,
    )
    assert good.device is bad.device
    with pytest.raises(iwh.InvocationError, match="a must be positive"):
        bad.fail(-1)
    use(good)
    x = good.add(F4, F4)
    bad.close()
    np.testing.assert_array_equal(good.add(x, x), F4 * 4)
    for _ in range(2):
        with pytest.raises(iwh.IncompatibleTargetError):
            iwh.load(ARCHIVES / "native-x86_64.vmfb", device=device)
    good.close()
    assert not device.is_closed
    device.close()


def test_loading_many_times_frees_what_it_took(engine: Engine) -> None:
    device = iwh.Device(engine)
    used = []
    for _ in range(5):
        with iwh.load(ARCHIVE, device=device) as module:
            use(module)
        del module
        used.append(device.allocator.statistics.used)
    assert used[0] == used[-1]
    device.close()


def test_nothing_is_copied_between_dispatches(load_wasm: LoadWasm) -> None:
    module = load_wasm(
        """
        func.func @chain(%a: tensor<64x64xf32>, %b: tensor<64x64xf32>) -> tensor<64x64xf32> {
          %zero = arith.constant 0.0 : f32
          %empty = tensor.empty() : tensor<64x64xf32>
          %init = linalg.fill ins(%zero : f32) outs(%empty : tensor<64x64xf32>)
                  -> tensor<64x64xf32>
          %0 = linalg.matmul ins(%a, %b : tensor<64x64xf32>, tensor<64x64xf32>)
               outs(%init : tensor<64x64xf32>) -> tensor<64x64xf32>
          %1 = linalg.matmul ins(%0, %b : tensor<64x64xf32>, tensor<64x64xf32>)
               outs(%init : tensor<64x64xf32>) -> tensor<64x64xf32>
          %2 = linalg.matmul ins(%1, %0 : tensor<64x64xf32>, tensor<64x64xf32>)
               outs(%init : tensor<64x64xf32>) -> tensor<64x64xf32>
          return %2 : tensor<64x64xf32>
        }
        """
    )
    a = np.eye(64, dtype=np.float32)
    before = module.statistics
    result = module.chain(a, a * 2)
    after = module.statistics
    np.testing.assert_array_equal(result, np.eye(64) * 8)
    assert after.dispatches - before.dispatches >= 3
    assert after.engine_calls - before.engine_calls == 1
    assert after.executable_switches == before.executable_switches
    assert after.bytes_to_device - before.bytes_to_device == 2 * a.nbytes
    assert after.bytes_from_device == before.bytes_from_device
    assert after.host_transfers == before.host_transfers


def test_custom_modules_in_python(load_wasm: LoadWasm) -> None:
    custom = iwh.PyModule("custom")
    seen = []

    @custom.function("twice", "0i_i")
    def twice(value: int) -> int:
        seen.append(value)
        return value * 2

    @custom.function("split", "0r_iI")
    def split(view: object) -> tuple[int, int]:
        array = view.to_numpy()  # type: ignore[attr-defined]  # a BufferView
        return int(array.sum()), int(array.max())

    @custom.function("fail", "0v_v")
    def fail() -> None:
        raise iwh.InvocationError("custom code failed", status="ABORTED")

    module = load_wasm(
        """
        util.func private @custom.twice(%a: i32) -> i32
        util.func private @custom.split(%a: !hal.buffer_view) -> (i32, i64)
        util.func private @custom.fail()
        util.func public @main(%a: i32, %b: !hal.buffer_view) -> (i32, i32, i64) {
          %0 = util.call @custom.twice(%a) : (i32) -> i32
          %1:2 = util.call @custom.split(%b) : (!hal.buffer_view) -> (i32, i64)
          util.return %0, %1#0, %1#1 : i32, i32, i64
        }
        util.func public @fail() {
          util.call @custom.fail() : () -> ()
          util.return
        }
        """,
        modules=[custom],
    )
    assert module.main(21, np.array([1, -5, 3], np.int32)) == (42, -1, 3)
    assert seen == [21]
    with pytest.raises(iwh.InvocationError, match="custom code failed") as caught:
        module["fail"]()
    assert caught.value.status == "ABORTED"


def test_modules_of_bytecode_are_linked(
    compile_wasm: Callable[..., Path], load_wasm: LoadWasm
) -> None:
    library = compile_wasm(
        """
        module @library {
          util.func public @twice(%a: i32) -> i32 {
            %0 = arith.addi %a, %a : i32
            util.return %0 : i32
          }
        }
        """
    )
    program = """
      module @program {
        util.func private @library.twice(%a: i32) -> i32
        util.func public @main(%a: i32) -> i32 {
          %0 = util.call @library.twice(%a) : (i32) -> i32
          util.return %0 : i32
        }
      }
    """
    module = load_wasm(program, modules=[iwh.BytecodeModule.from_bytes(library.read_bytes())])
    assert list(module) == ["main"]
    assert module.main(21) == 42


class LimitedEngine:
    """An engine that says it lacks a feature."""

    def __init__(self, engine: Engine, missing: Feature) -> None:
        self._engine = engine
        features = engine.info.features - {missing}
        self.info = dataclasses.replace(engine.info, features=features)

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)


FAT_SOURCE = b"""
  func.func @add(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32> {
    %0 = arith.addf %a, %b : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
"""


def test_a_fat_archive_runs_the_kernels_that_the_engine_has(engine: Engine) -> None:
    archive = iwh.compile(FAT_SOURCE, target="wasm32-simd128,wasm32")
    for opened in (engine, LimitedEngine(engine, Feature.SIMD128)):
        with iwh.load(archive, engine=opened) as module:  # type: ignore[arg-type]  # a stand-in
            np.testing.assert_array_equal(module.add(F4, F4), F4 * 2)


def test_a_missing_feature_is_named_with_the_engines_that_have_it(engine: Engine) -> None:
    limited = LimitedEngine(engine, Feature.SIMD128)
    stock = iwh.compile(FAT_SOURCE)
    fat = iwh.compile(FAT_SOURCE, target="wasm32-simd128,wasm64")
    for archive in (stock, fat):
        with pytest.raises(
            iwh.IncompatibleTargetError, match=r"needs simd128.*, which wasmtime .* lacks"
        ):
            iwh.load(archive, engine=limited)  # type: ignore[call-overload]  # a stand-in


def test_importing_the_package_loads_no_plugin_and_no_native_library() -> None:
    code = (
        "import sys, iree_wasm_hal; "
        "heavy = {'numpy', 'pluggy', 'cffi', 'wasmtime', 'iree_wasm_hal_wasmtime', 'onnx'}; "
        "sys.exit(', '.join(sorted(heavy & sys.modules.keys())) or None)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert result.returncode == 0, result.stderr


def test_every_public_name_is_there_and_sorted() -> None:
    assert iwh.__all__ == sorted(iwh.__all__)
    for name in iwh.__all__:
        assert getattr(iwh, name) is not None
    assert set(iwh.errors.__all__) <= set(iwh.__all__) <= set(dir(iwh))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(iwh, "nothing")  # noqa: B009 - a statement of its own


def test_what_public_members_return_has_a_public_name() -> None:
    with iwh.load(ARCHIVE) as module, iwh.load_pool(ARCHIVE, size=1) as pool:
        returned = [
            module.statistics,
            module.device.statistics,
            module.device.memory,
            pool.statistics,
            iwh.CodeCache("no-such-folder").info(),
        ]
    for value in returned:
        assert getattr(iwh, type(value).__name__) is type(value)
        assert type(value).__doc__


@pytest.mark.parametrize("options", [{"engine": None}, {"engine": 5}, {"threads": "2"}])
def test_options_of_a_wrong_type_are_named(options: dict[str, Any]) -> None:
    (name, value), *_ = options.items()
    with pytest.raises(iwh.ArgumentError, match=f"{name} is {value!r}"):
        iwh.load(ARCHIVE, **options)
