from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

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
            command = [_BIN / "iree-compile", "-", "-o", output, *flags]
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
