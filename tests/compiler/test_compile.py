from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import wasmtime

import iree_wasm_hal as iwh
from iree_wasm_hal.compiler import TARGET_NAMES, compile_to_file
from iree_wasm_hal.compiler.pipeline import CompileOptions
from iree_wasm_hal.compiler.source import SourceKind, read_source
from iree_wasm_hal.compiler.targets import parse_targets
from iree_wasm_hal.engine import Feature
from iree_wasm_hal.hal.formats import ExecutableFormat
from iree_wasm_hal.vm.archive import read_archive
from iree_wasm_hal.wasm.features import needed_features

if TYPE_CHECKING:
    from collections.abc import Callable

    from iree_wasm_hal.engine import Engine

ADD = """
func.func @add(%a: tensor<64xf32>, %b: tensor<64xf32>) -> tensor<64xf32> {
  %0 = arith.addf %a, %b : tensor<64xf32>
  return %0 : tensor<64xf32>
}
"""
STABLEHLO = """
func.func @exp(%a: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.exponential %a : tensor<4xf32>
  return %0 : tensor<4xf32>
}
"""
TOSA = """
func.func @tanh(%a: tensor<4xf32>) -> tensor<4xf32> {
  %0 = tosa.tanh %a : (tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}
"""


def elementwise(name: str, operation: str, inputs: str, result: str) -> str:
    """A function over ``tensor<16x...>`` whose scalars ``%0``, ``%1`` become ``%r``."""
    types = inputs.split()
    maps = ", ".join(["affine_map<(d0) -> (d0)>"] * (len(types) + 1))
    arguments = ", ".join(f"%arg{i}: tensor<16x{t}>" for i, t in enumerate(types))
    tensors = ", ".join(f"tensor<16x{t}>" for t in types)
    scalars = ", ".join(f"%{i}: {t}" for i, t in enumerate(types))
    return f"""
func.func @{name}({arguments}) -> tensor<16x{result}> {{
  %empty = tensor.empty() : tensor<16x{result}>
  %out = linalg.generic {{indexing_maps = [{maps}], iterator_types = ["parallel"]}}
      ins({", ".join(f"%arg{i}" for i in range(len(types)))} : {tensors})
      outs(%empty : tensor<16x{result}>) {{
  ^bb0({scalars}, %unused: {result}):
    %r = {operation}
    linalg.yield %r : {result}
  }} -> tensor<16x{result}>
  return %out : tensor<16x{result}>
}}
"""


def kernels(archive: bytes) -> list[bytes]:
    rodata = read_archive(archive, file_name="test").rodata
    return [bytes(data) for data in rodata if bytes(data[:4]) == b"\0asm"]


@pytest.mark.parametrize("target", TARGET_NAMES)
def test_each_target_gives_a_valid_module_of_its_level(target: str) -> None:
    (kernel,) = kernels(iwh.compile(ADD.encode(), target=target))
    config = wasmtime.Config()
    config.wasm_memory64 = True
    module = wasmtime.Module(wasmtime.Engine(config), kernel)
    assert [i.name for i in module.imports if isinstance(i.type, wasmtime.FuncType)] == []
    features = needed_features(kernel)
    assert (Feature.SIMD128 in features) == ("simd128" in target)
    assert (Feature.MEMORY64 in features) == target.startswith("wasm64")


@pytest.mark.parametrize("target", [name for name in TARGET_NAMES if name.startswith("wasm32")])
def test_each_level_computes_the_same(target: str, engine: Engine) -> None:
    left, right = np.arange(64, dtype=np.float32), np.linspace(-1, 1, 64, dtype=np.float32)
    with iwh.load(iwh.compile(ADD.encode(), target=target), engine=engine) as module:
        np.testing.assert_array_equal(module.add(left, right), left + right)


def test_a_fat_archive_has_a_module_per_target(engine: Engine) -> None:
    archive = iwh.compile(ADD.encode(), target="wasm32-simd128,wasm32")
    with_simd, scalar = sorted(
        kernels(archive), key=lambda k: Feature.SIMD128 not in needed_features(k)
    )
    assert Feature.SIMD128 in needed_features(with_simd)
    assert Feature.SIMD128 not in needed_features(scalar)
    assert b"system-wasm-wasm_32-simd128" in archive
    ones = np.ones(64, np.float32)
    with iwh.load(archive, engine=engine) as module:
        np.testing.assert_array_equal(module.add(ones, ones), 2 * ones)


@pytest.mark.parametrize("name", TARGET_NAMES)
def test_the_device_understands_each_format(name: str) -> None:
    (target,) = parse_targets(name)
    parsed = ExecutableFormat.parse(target.format)
    assert parsed is not None
    assert parsed.index64 == (target.pointer_bits == 64)
    assert (Feature.SIMD128 in parsed.features) == ("simd128" in name)
    assert (Feature.RELAXED_SIMD in parsed.features) == ("relaxed" in name)
    assert parsed.wide == ("wide" in name)


# Each of these fails with the stock linker, or in LLVM, or gives a module that does not validate.
_OPERATIONS: dict[str, tuple[str, str, str, Callable[..., Any]]] = {
    "maxnum": ("arith.maxnumf %0, %1 : f32", "f32 f32", "f32", np.fmax),
    "minnum_f64": ("arith.minnumf %0, %1 : f64", "f64 f64", "f64", np.fmin),
    "remainder": ("arith.remf %0, %1 : f32", "f32 f32", "f32", np.fmod),
    "round": (
        "math.round %0 : f32",
        "f32",
        "f32",
        lambda x: np.copysign(np.floor(np.abs(x) + np.float32(0.5)), x),
    ),
    "sin_f64": ("math.sin %0 : f64", "f64", "f64", np.sin),
    "tanh_f64": ("math.tanh %0 : f64", "f64", "f64", np.tanh),
    "atan2_f64": ("math.atan2 %0, %1 : f64", "f64 f64", "f64", np.arctan2),
    "f16_to_f32": ("arith.extf %0 : f16 to f32", "f16", "f32", lambda x: x.astype(np.float32)),
    "f32_to_f16": ("arith.truncf %0 : f32 to f16", "f32", "f16", lambda x: x.astype(np.float16)),
    "f64_to_f16": ("arith.truncf %0 : f64 to f16", "f64", "f16", lambda x: x.astype(np.float16)),
    "f16_to_f64": ("arith.extf %0 : f16 to f64", "f16", "f64", lambda x: x.astype(np.float64)),
    "add_f16": ("arith.addf %0, %1 : f16", "f16 f16", "f16", np.add),
    "f16_from_i32": ("arith.sitofp %0 : i32 to f16", "i32", "f16", lambda x: x.astype(np.float16)),
    "high_product": (
        "arith.muli %0, %1 : i64",
        "i64 i64",
        "i64",
        np.multiply,
    ),
}


@pytest.fixture(scope="module")
def operations(engine: Engine) -> Any:
    """All of ``_OPERATIONS`` in one module per target, compiled once."""
    source = "\n".join(
        elementwise(name, operation, inputs, result)
        for name, (operation, inputs, result, _) in _OPERATIONS.items()
    )
    modules = {
        target: iwh.load(iwh.compile(source.encode(), target=target), engine=engine)
        for target in ("wasm32", "wasm32-simd128")
    }
    yield modules
    for module in modules.values():
        module.close()


_NUMPY = {"f16": np.float16, "f32": np.float32, "f64": np.float64, "i32": np.int32, "i64": np.int64}


@pytest.mark.parametrize("target", ["wasm32", "wasm32-simd128"])
@pytest.mark.parametrize("name", _OPERATIONS)
def test_operations_that_need_the_support_library(
    operations: Any, name: str, target: str, random_source: np.random.Generator
) -> None:
    _, inputs, result, reference = _OPERATIONS[name]
    arrays = [(random_source.standard_normal(16) * 9).astype(_NUMPY[t]) for t in inputs.split()]
    if name.startswith("f16_to"):
        arrays[0][:6] = [0, -0.0, np.inf, -np.inf, np.float16(6e-8), 65504]
    actual = operations[target][name](*arrays)
    expected = reference(*arrays)
    assert actual.dtype == _NUMPY[result]
    np.testing.assert_allclose(actual, expected, rtol=1e-15 if name.endswith("_f64") else 0)


@pytest.mark.parametrize("cast", ["sitofp", "uitofp"])
def test_bf16_from_integers(cast: str, engine: Engine) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    source = elementwise("cast", f"arith.{cast} %0 : i32 to bf16", "i32", "bf16")
    values = np.array(
        [0, 1, 255, 256, 257, 258, 259, 511, 65535, 3, 9, 10**9, 5, 6, 7, 8], np.int32
    )
    with iwh.load(iwh.compile(source.encode()), engine=engine) as module:
        actual = module.cast(values)
    np.testing.assert_array_equal(
        actual.astype(np.float32), values.astype(ml_dtypes.bfloat16).astype(np.float32)
    )


def test_f64_stays_f64(engine: Engine) -> None:
    source = elementwise("square", "arith.mulf %0, %0 : f64", "f64", "f64")
    value = np.full(16, 1 + 2.0**-40)
    with iwh.load(iwh.compile(source.encode()), engine=engine) as module:
        np.testing.assert_array_equal(module.square(value), value * value)


@pytest.mark.parametrize(
    ("source", "function", "reference"),
    [(STABLEHLO, "exp", np.exp), (TOSA, "tanh", np.tanh)],
)
def test_stablehlo_and_tosa(
    source: str, function: str, reference: Callable[..., Any], engine: Engine
) -> None:
    x = np.array([-1, 0.5, 3, 7], np.float32)
    with iwh.load(iwh.compile(source.encode()), engine=engine) as module:
        np.testing.assert_allclose(module[function](x), reference(x), rtol=1e-6)


def test_mlir_bytecode_and_files(tmp_path: Path) -> None:
    text, bytecode = tmp_path / "add.txt", tmp_path / "add.bin"
    text.write_text(ADD)
    opt = Path(sys.executable).parent / "iree-opt"
    subprocess.run([opt, text, "--emit-bytecode", "-o", bytecode], check=True)
    from_bytecode = iwh.compile(bytecode, output=tmp_path / "deep" / "er" / "add.vmfb")
    assert from_bytecode == tmp_path / "deep" / "er" / "add.vmfb"
    assert len(kernels(from_bytecode.read_bytes())) == 1
    assert len(kernels(iwh.compile(str(text)))) == 1
    assert len(kernels(iwh.compile(bytecode.read_bytes()))) == 1


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (ADD.encode(), SourceKind.MLIR),
        (b"// comment\n#map = affine_map<(d0) -> (d0)>\nmodule {}", SourceKind.MLIR),
        (b"module @x attributes {} {}", SourceKind.MLIR),
        ("// \u00e9\nmodule {}".encode(), SourceKind.MLIR),
        (b"ML\xefR\x0dIREE", SourceKind.MLIR),
        (b"\x08\x08\x12\x07pytorch", SourceKind.ONNX),
    ],
)
def test_sources_are_told_by_their_contents(head: bytes, kind: SourceKind) -> None:
    assert read_source(head, "auto").kind is kind


def test_extra_flags_come_last() -> None:
    quiet = iwh.compile(ADD.encode())
    debug = iwh.compile(
        ADD.encode(), extra_args=["--iree-vm-bytecode-module-strip-source-map=true"]
    )
    assert len(debug) < len(quiet)


def test_the_result_describes_the_archive(tmp_path: Path) -> None:
    result = compile_to_file(ADD.encode(), tmp_path / "a.vmfb", CompileOptions())
    assert result.byte_length == (tmp_path / "a.vmfb").stat().st_size
    assert result.contents.functions == ("add",)
    assert result.contents.kernel_byte_lengths == (
        len(kernels((tmp_path / "a.vmfb").read_bytes())[0]),
    )
    assert "simd128" in result.contents.features


def test_importing_loads_neither_compiler_nor_onnx() -> None:
    code = (
        "import sys, iree_wasm_hal.compiler\n"
        "loaded = {'onnx', 'iree.compiler', 'numpy'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_temporary_directory_with_spaces_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spaced = tmp_path / "with spaces"
    spaced.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(spaced))
    (spaced / "a model.mlir").write_text(ADD)
    output = spaced / "an archive.vmfb"
    assert iwh.compile(spaced / "a model.mlir", output=output) == output
    assert len(kernels(output.read_bytes())) == 1
