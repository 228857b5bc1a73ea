"""The wheels install into empty environments, and the core needs nothing it does not name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

import iree_wasm_hal as iwh

pytestmark = pytest.mark.xdist_group("packaging")  # wheels and environments are made once

ROOT = Path(__file__).parents[2]
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
BUILT = [path for path in PLUGINS if list(path.glob("hatch_build_*.py"))]
"""Plugins that carry a native engine; the others come ready from a registry."""
READY = [path for path in PLUGINS if path not in BUILT]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels that need no native build, as ``make wheels`` builds them."""
    folder = tmp_path_factory.mktemp("dist")
    for project in [ROOT, *READY]:
        done = build_wheel(project, folder)
        assert done.returncode == 0, done.stderr
    return folder


def build_wheel(
    project: Path, folder: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(folder), str(project)]
    variables = os.environ | environment
    return subprocess.run(command, check=False, capture_output=True, text=True, env=variables)


def make_environment(folder: Path, wheels: Path, requirement: str) -> Path:
    """An environment with one requirement installed; returns its interpreter."""
    venv.create(folder)
    python = folder / "bin" / "python"
    # Our pip: to give each its own takes longer than to install what is needed.
    command = [sys.executable, "-m", "pip", "--python", str(python), "install"]
    command += ["--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*command, "--find-links", str(wheels), requirement],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return python


def run(python: Path, code: str) -> str:
    done = subprocess.run(
        [python, "-I", "-c", code], capture_output=True, text=True, check=False, cwd=python.parent
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def bare_python(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_environment(tmp_path_factory.mktemp("bare"), wheels, "iree-wasm-hal")


def test_core_installs_with_three_dependencies(bare_python: Path) -> None:
    code = """
import importlib.metadata as m, json
print(json.dumps(sorted(d.name.lower() for d in m.distributions())))
"""
    installed = set(json.loads(run(bare_python, code)))
    assert installed == {"iree-wasm-hal", "numpy", "platformdirs", "pluggy"}


def test_core_lists_no_engine_and_names_the_missing_one(bare_python: Path) -> None:
    code = """
import iree_wasm_hal as iwh
assert len(iwh.engines()) == 0, iwh.engines()
try:
    iwh.open_engine("wasmtime")
except iwh.Error as error:
    print(error)
"""
    assert "pip install 'iree-wasm-hal[wasmtime]'" in run(bare_python, code)


def test_command_without_its_extra_is_one_sentence(bare_python: Path) -> None:
    done = subprocess.run(
        [bare_python.parent / "iree-wasm", "engines"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'iree-wasm-hal[cli]'" in done.stderr


def test_every_module_of_the_core_imports_without_extras(bare_python: Path) -> None:
    """All but those that are an extra's own front: the command line's typer layer."""
    code = """
import importlib, pkgutil, sys
import iree_wasm_hal
needs_extra = ("iree_wasm_hal.cli.app", "iree_wasm_hal.cli.options", "iree_wasm_hal.cli.compile")
conformance = "iree_wasm_hal.engine.conformance"  # a pytest suite
for module in pkgutil.walk_packages(iree_wasm_hal.__path__, "iree_wasm_hal."):
    if not module.name.startswith((*needs_extra, conformance)):
        importlib.import_module(module.name)
"""
    run(bare_python, code)


@pytest.mark.parametrize("plugin", BUILT, ids=lambda path: path.name)
def test_a_native_build_without_its_tools_is_one_sentence(plugin: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    done = build_wheel(plugin, tmp_path, PATH=str(empty), HOME=str(empty))
    assert done.returncode != 0
    told = [line for line in done.stderr.splitlines() if "cannot be built" in line]
    assert len(told) == 1
    assert "cargo is missing" in told[0]
    assert "Traceback" not in done.stderr


def test_wheels_with_engines_run_in_an_empty_environment(wheels: Path, tmp_path: Path) -> None:
    found = json.loads(os.environ["IREE_WASM_HAL_TEST_ENGINES"])
    names = [
        path.name for path in READY if path.name != "null" and found.get(path.name, "") is None
    ]
    python = make_environment(tmp_path / "engine", wheels, f"iree-wasm-hal[{','.join(names)}]")
    source = tmp_path / "add.mlir"
    source.write_text(
        "func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {\n"
        "  %0 = arith.addf %a, %a : tensor<4xf32>\n  return %0 : tensor<4xf32>\n}\n"
    )
    iwh.compile(source, output=tmp_path / "add.vmfb", target="wasm32")
    code = f"""
import numpy, iree_wasm_hal as iwh
for record in iwh.engines():
    assert record.available, record.cause
    with iwh.load({str(tmp_path / "add.vmfb")!r}, engine=record.name) as module:
        assert module.main(numpy.arange(4, dtype=numpy.float32)).tolist() == [0, 2, 4, 6]
    print(record.name)
"""
    assert run(python, code).split() == names
