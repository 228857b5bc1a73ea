from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

BIN = Path(sys.executable).parent

IDENTITY = """
util.func public @tensor(%a: !hal.buffer_view) -> !hal.buffer_view {
  util.return %a : !hal.buffer_view
}
util.func public @scalars(%a: i32, %b: i64, %c: f32, %d: f64) -> (i32, i64, f32, f64) {
  util.return %a, %b, %c, %d : i32, i64, f32, f64
}
util.func public @two(%a: !hal.buffer_view, %b: !hal.buffer_view)
    -> (!hal.buffer_view, !hal.buffer_view) {
  util.return %b, %a : !hal.buffer_view, !hal.buffer_view
}
"""


@pytest.fixture(scope="session")
def identity_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Functions that return their arguments; no kernels, so both runtimes load it."""
    folder = tmp_path_factory.mktemp("identity")
    source, archive = folder / "identity.mlir", folder / "identity.vmfb"
    source.write_text(IDENTITY)
    command: list[str | Path] = [
        BIN / "iree-compile",
        source,
        *("-o", archive),
        "--iree-hal-target-device=local",
        "--iree-hal-local-target-device-backends=llvm-cpu",
        "--iree-llvmcpu-target-cpu=host",
        "--iree-input-demote-f64-to-f32=false",
    ]
    subprocess.run(command, check=True, capture_output=True)
    return archive


@pytest.fixture(scope="session")
def iree_run(identity_archive: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs iree-run-module on the identity functions."""

    def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        command: list[str | Path] = [
            BIN / "iree-run-module",
            "--device=local-sync",
            f"--module={identity_archive}",
            *arguments,
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)

    return run
