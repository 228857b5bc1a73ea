from __future__ import annotations

import fcntl
import hashlib
import os
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
    MadeOnce = Callable[[str, Callable[[Path], object]], Path]

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
def made_once(tmp_path_factory: pytest.TempPathFactory) -> MadeOnce:
    """``made_once(name, make)``: a file that ``make`` writes, for all processes of this run."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # each worker has a folder in the run's own
        folder = folder.parent
    folder /= "made-once"
    folder.mkdir(exist_ok=True)

    def get(name: str, make: Callable[[Path], object]) -> Path:
        output = folder / name
        with (folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not output.exists():
                unfinished = folder / f"unfinished-{name}"
                make(unfinished)
                unfinished.replace(output)
        return output

    return get


@pytest.fixture(scope="session")
def _compile(made_once: MadeOnce) -> Compile:
    """Runs the stock compiler, once for equal sources and flags."""

    def compile_source(source: str, *flags: str) -> Path:
        def run(output: Path) -> None:
            command = [str(_BIN / "iree-compile"), "-", "-o", str(output), *flags]
            result = subprocess.run(
                command, input=source, capture_output=True, text=True, check=False
            )
            assert result.returncode == 0, result.stderr

        digest = hashlib.sha256("\0".join([source, *flags]).encode()).hexdigest()[:16]
        return made_once(f"{digest}.vmfb", run)

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
def traps_archive(made_once: MadeOnce) -> Path:
    """Kernels that trap for some arguments and need no feature that an engine may lack."""
    source = Path(__file__).parent / "engine" / "traps.mlir"
    return made_once(
        "traps.vmfb", lambda output: iwh.compile(source, output=output, target="wasm32")
    )


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
