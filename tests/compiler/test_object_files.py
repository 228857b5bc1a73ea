from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from iree_wasm_hal.compiler.linking.front import REPLACED_FUNCTIONS, SUPPORT_DIR
from iree_wasm_hal.compiler.linking.launcher import write_launcher
from iree_wasm_hal.compiler.linking.object_file import has_memory64, replace_functions
from iree_wasm_hal.compiler.toolchain import find_toolchain

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = """
func.func @main(%x: tensor<16xf32>) -> tensor<16xf16> {
  %empty = tensor.empty() : tensor<16xf16>
  %0 = linalg.generic {
      indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>],
      iterator_types = ["parallel"]} ins(%x : tensor<16xf32>) outs(%empty : tensor<16xf16>) {
  ^bb0(%a: f32, %b: f16):
    %r = arith.truncf %a : f32 to f16
    linalg.yield %r : f16
  } -> tensor<16xf16>
  return %0 : tensor<16xf16>
}
"""


def _object(bits: int, directory: Path) -> Path:
    """The object file that iree-compile hands to its linker."""
    keeper = directory / "keep-objects"
    keeper.write_text(
        f'#!/bin/sh\nfor a in "$@"; do case "$a" in *.o) cp "$a" {directory}/k.o;; esac; done\n'
        "exit 1\n"
    )
    keeper.chmod(0o700)
    (directory / "source.mlir").write_text(SOURCE)
    command = [str(find_toolchain().iree_compile), str(directory / "source.mlir")]
    command += ["-o", str(directory / "x.vmfb"), "--iree-hal-target-device=local"]
    command += ["--iree-hal-local-target-device-backends=llvm-cpu"]
    command += [f"--iree-llvmcpu-target-triple=wasm{bits}-unknown-unknown"]
    command += ["--iree-llvmcpu-link-embedded=false", f"--iree-llvmcpu-wasm-linker-path={keeper}"]
    subprocess.run(command, capture_output=True, check=False)
    return directory / "k.o"


@pytest.fixture(scope="module")
def object_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _object(32, tmp_path_factory.mktemp("object"))


def _link(paths: list[Path], output: Path) -> subprocess.CompletedProcess[str]:
    command = [str(find_toolchain().lld), "-flavor", "wasm", "--no-entry", "--experimental-pic"]
    command += ["--fatal-warnings", "--shared", "-o", str(output), *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_replaced_functions_become_undefined(object_file: Path, tmp_path: Path) -> None:
    repaired = tmp_path / "repaired.o"
    repaired.write_bytes(replace_functions(object_file.read_bytes(), REPLACED_FUNCTIONS))
    alone = _link([repaired], tmp_path / "x.wasm")
    assert "undefined symbol: __truncsfhf2" in alone.stderr
    together = _link([repaired, SUPPORT_DIR / "libsupport_wasm32.a"], tmp_path / "x.wasm")
    assert together.stderr == ""
    assert together.returncode == 0


def test_replacing_nothing_changes_nothing_that_the_linker_sees(
    object_file: Path, tmp_path: Path
) -> None:
    # The linker writes its output's name into the module.
    path, output = tmp_path / "object.o", tmp_path / "x.wasm"
    linked = []
    for wasm in (object_file.read_bytes(), replace_functions(object_file.read_bytes(), {})):
        path.write_bytes(wasm)
        assert _link([path], output).returncode == 0
        linked.append(output.read_bytes())
    assert linked[0] == linked[1]


def test_64_bit_objects_are_told_apart(object_file: Path, tmp_path: Path) -> None:
    assert not has_memory64(object_file.read_bytes())
    assert has_memory64(_object(64, tmp_path).read_bytes())


def test_every_truncation_is_an_error_of_python_and_no_hang(object_file: Path) -> None:
    wasm = object_file.read_bytes()
    for end in range(8, len(wasm), 97):
        try:
            replace_functions(wasm[:end], REPLACED_FUNCTIONS)
        except (IndexError, ValueError):
            continue


def test_the_launcher_starts_without_site_packages(tmp_path: Path) -> None:
    lld = tmp_path / "show-arguments"
    lld.write_text('#!/bin/sh\necho "$@"\nexit 3\n')
    lld.chmod(0o700)
    launcher = write_launcher(tmp_path, lld)
    result = subprocess.run(
        [launcher, "-flavor", "wasm"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 3
    assert result.stdout.split() == ["-flavor", "wasm", str(SUPPORT_DIR / "libsupport_wasm32.a")]
    assert "-S" in launcher.read_text().split()
    assert sys.executable in launcher.read_text()
