"""Which engines the tests run on: those that are installed and open on this machine.

An engine that is absent is left out and named in the summary. The environment variable
``IREE_WASM_HAL_REQUIRE_ENGINES`` (names with commas between them) makes its absence a failure.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from iree_wasm_hal.engine import Feature, list_engines
from iree_wasm_hal.engine.known_engines import KNOWN_ENGINES

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

_PLUGINS = Path(__file__).parent / "plugins"
_REQUIRED = "IREE_WASM_HAL_REQUIRE_ENGINES"
# Found out once: the processes that run the tests inherit it from the one that started them.
_FOUND = "IREE_WASM_HAL_TEST_ENGINES"
_CACHE = "IREE_WASM_HAL_CACHE_DIR"


def pytest_configure() -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:  # no test touches what the user's programs keep
        folder = tempfile.mkdtemp(prefix="iree-wasm-hal-tests-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ[_CACHE] = folder
    if _FOUND not in os.environ:
        os.environ[_FOUND] = json.dumps({record.name: record.cause for record in list_engines()})
    missing = [f"{name}: {cause}" for name, cause in _left_out().items() if name in _required()]
    if missing:
        raise pytest.UsageError(f"{_REQUIRED} asks for engines that do not open: {missing}")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leaves out the tests of the plugins whose engines do not open here."""
    if collection_path.parent == _PLUGINS and _engine_of(collection_path) in _left_out():
        return True
    return None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs a test that takes ``engine_name`` once on each engine that opens here.

    One that takes ``interrupting_engine_name`` or ``stubborn_engine_name`` runs on those that can,
    or cannot, end a running kernel.
    """
    interrupting = [n for n in _available() if Feature.INTERRUPT in KNOWN_ENGINES.get(n, ())]
    stubborn = [name for name in _available() if name not in interrupting]
    for fixture, names in (
        ("engine_name", _available()),
        ("interrupting_engine_name", interrupting),
        ("stubborn_engine_name", stubborn),
    ):
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, names, scope="session")


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    terminalreporter.section("engines")
    terminalreporter.write_line(f"tested: {', '.join(_available())}")
    for name, cause in _left_out().items():
        terminalreporter.write_line(f"left out: {name}: {cause}")
    # What a plugin declares unsupported stands in its conformance test.
    skipped = [
        one for one in terminalreporter.stats.get("skipped", []) if "plugins/" not in one.nodeid
    ]
    for reason in sorted({one.longrepr[2] for one in skipped}):
        terminalreporter.write_line(f"left out: {reason.removeprefix('Skipped: ')}")
    for report in terminalreporter.stats.get("passed", []):
        for key, value in report.user_properties:
            terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {key}: {value}")


def _found() -> dict[str, str | None]:
    found: dict[str, str | None] = json.loads(os.environ[_FOUND])
    return found


def _available() -> list[str]:
    """Engines that run wasm, in the order of their names."""
    return [name for name, cause in _found().items() if cause is None and name != "null"]


def _left_out() -> dict[str, str]:
    """Engines of this repository, and of the requirement, that do not open, and why."""
    names = {_engine_of(path.parent) for path in _PLUGINS.glob("*/pyproject.toml")}
    names |= set(_required())
    found = _found()
    return {
        name: found.get(name) or "not installed; make engines builds and installs it"
        for name in sorted(names)
        if found.get(name, "") is not None
    }


def _engine_of(plugin: Path) -> str:
    """Name of the engine in a plugin's folder, which is a Python package's."""
    return plugin.name.replace("_", "-")


def _required() -> list[str]:
    return [name for name in os.environ.get(_REQUIRED, "").replace(",", " ").split() if name]
