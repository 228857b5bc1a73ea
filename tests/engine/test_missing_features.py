"""A model that an engine cannot run: what is said, and that following it helps."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from engine_documents import available_infos

import iree_wasm_hal as iwh
from iree_wasm_hal.compiler.targets import TARGET_NAMES, parse_targets
from iree_wasm_hal.engine import EngineInfo, Feature, MemoryModel
from iree_wasm_hal.engine.known_engines import KNOWN_ENGINES
from iree_wasm_hal.hal.compatibility import TARGET_FEATURES, best_target

if TYPE_CHECKING:
    from collections.abc import Callable

_BIN = Path(sys.executable).parent
_SOURCE = """
!i8 = tensor<16x16xi8>
!i32 = tensor<16x16xi32>
!f32 = tensor<16x16xf32>
func.func @main(%a: !i8, %b: !i8, %c: !f32) -> (!i32, !f32) {
  %i_zero = arith.constant 0 : i32
  %i_empty = tensor.empty() : !i32
  %i_init = linalg.fill ins(%i_zero : i32) outs(%i_empty : !i32) -> !i32
  %product = linalg.matmul ins(%a, %b : !i8, !i8) outs(%i_init : !i32) -> !i32
  %f_zero = arith.constant 0.0 : f32
  %f_empty = tensor.empty() : !f32
  %f_init = linalg.fill ins(%f_zero : f32) outs(%f_empty : !f32) -> !f32
  %square = linalg.matmul ins(%c, %c : !f32, !f32) outs(%f_init : !f32) -> !f32
  return %product, %square : !i32, !f32
}
"""
_CPU_FEATURES = {
    "+sign-ext": {Feature.SIGN_EXTENSION},
    "+nontrapping-fptoint": {Feature.NONTRAPPING_FPTOINT},
    "+mutable-globals": set[Feature](),  # a part of WebAssembly 1.0 wherever it matters
    "+bulk-memory": {Feature.BULK_MEMORY},
    "+simd128": {Feature.SIMD128},
    "+relaxed-simd": {Feature.RELAXED_SIMD, Feature.RELAXED_MADD, Feature.RELAXED_DOT},
}
"""The compiler's word for each feature."""


@pytest.fixture(scope="session")
def compile_target(made_once: Callable[..., Path]) -> Callable[[str], Path]:
    """Compiles the model for a target, once."""
    source = _SOURCE.encode()
    return lambda target: made_once(
        f"features-{target}.vmfb",
        lambda output: iwh.compile(source, output=output, target=target),
    )


def _check_results(module: iwh.Module) -> None:
    random = np.random.default_rng(1)
    a, b = random.integers(-128, 128, (2, 16, 16), np.int8)
    c = random.standard_normal((16, 16), np.float32)
    product, square = module.main(a, b, c)
    np.testing.assert_array_equal(product, a.astype(np.int32) @ b.astype(np.int32))
    np.testing.assert_allclose(square, c @ c, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("target", ["wasm32", "wasm32-simd128", "wasm32-simd128-relaxed", "wasm64"])
def test_the_advice_helps(
    engine_name: str, target: str, compile_target: Callable[[str], Path], tmp_path: Path
) -> None:
    archive = compile_target(target)
    try:
        module = iwh.load(archive, engine=engine_name)
    except iwh.IncompatibleTargetError as error:
        message = str(error)
    else:
        _check_results(module)
        module.close()
        return
    info = available_infos()[engine_name]
    missing = TARGET_FEATURES[target] - info.features
    assert any(f"needs {feature.value}" in message for feature in missing), message
    assert f"which {engine_name} {info.version} lacks" in message
    named = message.partition("Engines that have ")[2].partition(": ")[2].partition(".")[0]
    assert "wasmtime" in named.split(", ")
    assert engine_name not in named.split(", ")
    command = message.partition(f"To run it on {engine_name}: ")[2]
    assert command.startswith("iree-wasm compile MODEL -o MODEL.vmfb --target ")
    source = tmp_path / "model.mlir"
    source.write_text(_SOURCE)
    words = shlex.split(command.replace("MODEL.vmfb", "out.vmfb").replace("MODEL", str(source)))
    subprocess.run([str(_BIN / words[0]), *words[1:]], cwd=tmp_path, check=True, timeout=120)
    module = iwh.load(tmp_path / "out.vmfb", engine=engine_name)
    _check_results(module)
    module.close()


def test_known_features_are_the_probed_ones() -> None:
    for name, info in available_infos().items():
        assert KNOWN_ENGINES[name] == info.features, name


@pytest.mark.parametrize("name", TARGET_NAMES)
def test_targets_are_the_compilers(name: str) -> None:
    (target,) = parse_targets(name)
    features = set[Feature]().union(*(_CPU_FEATURES[word] for word in target.cpu_features))
    features |= {Feature.MEMORY64} if target.pointer_bits == 64 else set()
    features |= {Feature.WIDE_VECTORS} if name.endswith("-wide") else set()  # to be the best
    assert TARGET_FEATURES[name] == features
    assert set(TARGET_FEATURES) == set(TARGET_NAMES)


@pytest.mark.parametrize(
    ("engine", "target", "wide_target"),
    [
        ("wasmtime", "wasm32-simd128-relaxed", "wasm64-simd128-relaxed"),
        ("v8", "wasm32-simd128-relaxed", "wasm64-simd128-relaxed"),
        ("jsc", "wasm32-simd128", None),
        ("wamr", "wasm32-simd128", None),
        ("wamr-aot", "wasm32-simd128-relaxed-wide", "wasm64-simd128-relaxed-wide"),
        ("wasm3", "wasm32", None),
        ("wasmer", "wasm32-simd128-relaxed", None),
    ],
)
def test_best_target(engine: str, target: str, wide_target: str | None) -> None:
    info = EngineInfo(engine, "1", "", MemoryModel.IMPORTS, KNOWN_ENGINES[engine])
    assert best_target(info) == target
    assert best_target(info, index64=True) == wide_target


def test_threads_name_the_engines_that_have_them(engine_name: str, traps_archive: Path) -> None:
    if Feature.THREADS in KNOWN_ENGINES[engine_name]:
        iwh.load(traps_archive, engine=engine_name, threads=2).close()
        return
    with pytest.raises(iwh.EngineError, match=r"lacks .*threads.*one thread.*wasmtime"):
        iwh.load(traps_archive, engine=engine_name, threads=2)


def test_time_outs_name_the_engines_that_keep_them(engine_name: str, traps_archive: Path) -> None:
    if Feature.INTERRUPT in KNOWN_ENGINES[engine_name]:
        iwh.load(traps_archive, engine=engine_name, timeout=60).close()
        return
    with pytest.raises(
        iwh.EngineError, match=r"cannot end a running kernel \(.*an engine that can"
    ):
        iwh.load(traps_archive, engine=engine_name, timeout=60)
