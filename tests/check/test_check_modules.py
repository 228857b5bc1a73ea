"""Our own check tests, compiled and run by the command line, and natively."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from native_check import run_natively

FOLDER = Path(__file__).parent
BIN = Path(sys.executable).parent
SOURCES = sorted(FOLDER.glob("*.mlir"))


def iree_wasm(*arguments: object) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [BIN / "iree-wasm", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_passes_here_and_natively(source: Path, tmp_path: Path) -> None:
    compiled = iree_wasm("compile", source, "-o", tmp_path / "wasm.vmfb")
    assert compiled.returncode == 0, compiled.stderr
    done = iree_wasm("check", tmp_path / "wasm.vmfb", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    ours = {test["name"]: test["messages"] for test in json.loads(done.stdout)["tests"]}
    command: list[str | Path] = [BIN / "iree-compile", source, "-o", tmp_path / "native.vmfb"]
    command += ["--iree-hal-target-device=local", "--iree-llvmcpu-target-cpu=host"]
    command += ["--iree-hal-local-target-device-backends=llvm-cpu"]
    subprocess.run(command, check=True, capture_output=True)
    assert ours == run_natively((tmp_path / "native.vmfb").read_bytes())
    assert len(ours) == source.read_text().count("\nfunc.func @")


WRONG = """
func.func @right() {
  %a = util.unfoldable_constant dense<[1, 2]> : tensor<2xi32>
  check.expect_eq_const(%a, dense<[1, 2]> : tensor<2xi32>) : tensor<2xi32>
  return
}
func.func @wrong() {
  %a = util.unfoldable_constant dense<[1, 2]> : tensor<2xi32>
  check.expect_eq_const(%a, dense<[1, 3]> : tensor<2xi32>) : tensor<2xi32>
  return
}
"""


def test_a_failed_expectation_fails_the_command(tmp_path: Path) -> None:
    source = tmp_path / "wrong.mlir"
    source.write_text(WRONG)
    assert iree_wasm("compile", source, "-o", tmp_path / "wrong.vmfb").returncode == 0
    done = iree_wasm("check", tmp_path / "wrong.vmfb")
    assert done.returncode == 1
    assert "[OK] right" in done.stdout
    assert "[FAILED] wrong" in done.stdout
    assert "2xi32=1 2" in done.stdout
    assert "2xi32=1 3" in done.stdout
    assert "1 of 2 passed" in done.stdout
