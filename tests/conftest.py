from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import iree_wasm_hal as iwh

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from iree_wasm_hal.engine import Engine

    Compile = Callable[..., Path]

_BIN = Path(sys.executable).parent
_COMMON = (
    "--iree-hal-target-device=local",
    "--iree-hal-local-target-device-backends=llvm-cpu",
    "--iree-input-demote-f64-to-f32=false",
)
_WASM = (
    *_COMMON,
    "--iree-llvmcpu-target-triple=wasm32-unknown-unknown",
    "--iree-llvmcpu-link-embedded=false",
    "--iree-llvmcpu-target-cpu-features=+simd128",
)
_NATIVE = (*_COMMON, "--iree-llvmcpu-target-cpu=host")


@pytest.fixture(scope="session")
def _compile(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """Runs the stock compiler; equal sources and flags are compiled once per session."""
    folder = tmp_path_factory.mktemp("archives")

    def compile_source(source: str, *flags: str) -> Path:
        digest = hashlib.sha256("\0".join([source, *flags]).encode()).hexdigest()[:16]
        output = folder / f"{digest}.vmfb"
        if not output.exists():
            command = [str(_BIN / "iree-compile"), "-", "-o", str(output), *flags]
            result = subprocess.run(
                command, input=source, capture_output=True, text=True, check=False
            )
            assert result.returncode == 0, result.stderr
        return output

    return compile_source


@pytest.fixture(scope="session")
def compile_wasm(_compile: Compile) -> Compile:
    """``compile_wasm(mlir, *flags)``: the path of a ``.vmfb`` with wasm32 SIMD kernels."""
    return lambda source, *flags: _compile(source, *_WASM, *flags)


@pytest.fixture(scope="session")
def compile_native(_compile: Compile) -> Compile:
    """``compile_native(mlir, *flags)``: the same for this machine and IREE's own runtime."""
    return lambda source, *flags: _compile(source, *_NATIVE, *flags)


@pytest.fixture(scope="session")
def traps_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kernels that trap for some arguments and need no feature that an engine may lack."""
    source = Path(__file__).parent / "engine" / "traps.mlir"
    output = tmp_path_factory.mktemp("traps") / "traps.vmfb"
    return iwh.compile(source, output=output, target="wasm32")


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """One engine for the session; every module has its own device on it."""
    opened = iwh.open_engine("wasmtime")
    yield opened
    opened.close()


@pytest.fixture
def load_wasm(
    compile_wasm: Callable[..., Path], engine: Engine
) -> Iterator[Callable[..., iwh.Module]]:
    """``load_wasm(mlir, *flags, **options)``: compiled, loaded, and closed after the test."""
    modules = []

    def load(source: str, *flags: str, **options: Any) -> iwh.Module:
        module = iwh.load(compile_wasm(source, *flags), engine=engine, **options)
        modules.append(module)
        return module

    yield load
    for module in modules:
        module.close()


@pytest.fixture
def load_native(compile_native: Callable[..., Path]) -> Callable[..., Callable[..., Any]]:
    """``load_native(mlir, *flags)``: a call of IREE's own runtime by function name."""

    import iree.runtime as rt

    def load(source: str, *flags: str) -> Callable[..., Any]:
        data = compile_native(source, *flags).read_bytes()
        module = rt.load_vm_flatbuffer(data, driver="local-sync")

        def call(name: str, *arguments: Any) -> Any:
            results = module[name](*arguments)
            if isinstance(results, tuple | list):
                return tuple(_host(result) for result in results)
            return _host(results)

        return call

    return load


def _host(value: Any) -> Any:
    to_host = getattr(value, "to_host", None)
    return value if to_host is None else np.array(to_host())


@pytest.fixture
def random_source() -> np.random.Generator:
    return np.random.default_rng(20240229)
