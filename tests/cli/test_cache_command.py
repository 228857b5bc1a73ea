"""``iree-wasm cache`` and ``--no-cache``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import iree_wasm_hal as iwh

if TYPE_CHECKING:
    from collections.abc import Callable

BIN = Path(sys.executable).parent
SOURCE = """
func.func @scale(%a: tensor<4xf32>) -> tensor<4xf32> {
  %0 = arith.mulf %a, %a : tensor<4xf32>
  return %0 : tensor<4xf32>
}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def run(folder: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(BIN / "iree-wasm"), *map(str, arguments)],
            env=os.environ | {"IREE_WASM_HAL_CACHE_DIR": str(folder)} | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    path = tmp_path_factory.mktemp("scale")
    (path / "scale.mlir").write_text(SOURCE)
    archive = iwh.compile(path / "scale.mlir", output=path / "scale.vmfb")
    return ["run", archive, "--input", "4xf32=1 2 3 4"]


def test_info_and_clear(
    run: Callable[..., subprocess.CompletedProcess[str]], folder: Path, command: list[object]
) -> None:
    assert json.loads(run("cache", "info", "--json").stdout)["entries"] == {}
    assert run(*command).returncode == 0
    document = json.loads(run("cache", "info", "--json").stdout)
    assert document["entries"] == {"kernels": 1, "host-programs": 1}
    assert (document["folder"], document["enabled"], document["cause"]) == (str(folder), True, None)
    text = run("cache", "info").stdout
    assert "entries: 1 host-programs, 1 kernels" in text
    assert "state:   on" in text
    cleared = json.loads(run("cache", "clear", "--json").stdout)
    assert cleared == {
        "folder": str(folder),
        "removed_files": 2,
        "removed_bytes": document["byte_length"],
    }
    assert run("cache", "clear").stdout.startswith("removed 0 files")


def test_no_cache(
    run: Callable[..., subprocess.CompletedProcess[str]], folder: Path, command: list[object]
) -> None:
    plain = run(*command, "--no-cache")
    assert plain.returncode == 0
    assert run(*command, IREE_WASM_HAL_NO_CACHE="1").stdout == plain.stdout
    assert not folder.exists()
    info = run("cache", "info", IREE_WASM_HAL_NO_CACHE="1").stdout
    assert "state:   off: IREE_WASM_HAL_NO_CACHE is set" in info


def test_a_folder_that_others_can_write(
    run: Callable[..., subprocess.CompletedProcess[str]], folder: Path, command: list[object]
) -> None:
    folder.mkdir()
    folder.chmod(0o777)
    done = run(*command)
    assert done.returncode == 0
    assert "result[0]" in done.stdout
    assert "others can write in it (mode 777)" in done.stderr
    assert "off: others can write in it" in run("cache", "info").stdout
    cleared = run("cache", "clear")
    assert cleared.returncode == 1
    assert "others can write" in cleared.stderr
    assert list(folder.iterdir()) == []


def test_without_a_subcommand(run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    assert run("cache").returncode == 2
