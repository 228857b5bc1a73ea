"""Finding, opening and listing engines, with distributions made on the fly."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from out_of_tree import Site, make_site

from iree_wasm_hal.engine import check_options, list_engines, open_engine
from iree_wasm_hal.errors import EngineError, EngineUnavailableError, LimitError

if TYPE_CHECKING:
    from pathlib import Path

_GOOD = """
from iree_wasm_hal.engine import EngineInfo, Feature, MemoryModel, check_options, hookimpl

class Engine:
    artifact_key = None
    def __init__(self, name):
        self.info = EngineInfo(name, "7.8", "", MemoryModel.OWNS, frozenset({Feature.SIMD128}))
    def close(self):
        pass

@hookimpl
def iree_wasm_hal_open_engine(options):
    check_options("NAME", options, ["speed", "stack_size"])
    return Engine("NAME")
"""


def _good(name: str) -> str:
    return _GOOD.replace("NAME", name)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return make_site(tmp_path / "site", monkeypatch)


def _cause(name: str) -> str:
    with pytest.raises(EngineUnavailableError) as caught:
        open_engine(name)
    return str(caught.value)


def test_open_imports_the_named_plugin_only(site: Site) -> None:
    alpha = site.install("alpha", _good("alpha"))
    beta = site.install("beta", "raise SystemError('must not be imported')")
    assert open_engine("alpha").info.version == "7.8"
    assert alpha in sys.modules
    assert beta not in sys.modules


def test_missing_engine_names_the_pip_command(site: Site) -> None:
    site.install("alpha", _good("alpha"))
    message = _cause("quickjs")
    assert "there is no engine 'quickjs'" in message
    assert "pip install 'iree-wasm-hal[NAME]', where NAME is one of jsc, v8, wamr, " in message
    assert "Installed engines: alpha" in message


def test_missing_engine_suggests_the_nearest(site: Site) -> None:
    site.install("alpha", _good("alpha"))
    assert "(did you mean 'alpha'?)" in _cause("alhpa")
    assert "(did you mean 'wasmer'?)" in _cause("wasmr")


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("import no_such_native_library", "ModuleNotFoundError: No module named"),
        ("1/0", "ZeroDivisionError: division by zero"),
        ("def broken(:", "SyntaxError"),
        ("raise OSError('one\\nand two')", "OSError: one and two."),
    ],
)
def test_broken_import_names_cause_and_distribution(site: Site, source: str, cause: str) -> None:
    site.install("alpha", source, distribution="some-dist")
    message = _cause("alpha")
    assert "some-dist 1.2" in message
    assert cause in message
    assert "pip install --force-reinstall some-dist" in message


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("", "has no iree_wasm_hal_open_engine"),
        (_good("alpha").replace("@hookimpl", ""), "has no iree_wasm_hal_open_engine"),
        (_good("alpha").replace("(options):", "(options, extra):"), "extra"),
        (_good("alpha").replace("iree_wasm_hal_open_engine", "iree_wasm_hal_open"), "unknown hook"),
        (_good("alpha").replace('return Engine("alpha")', "return None"), "returned None"),
        (_good("alpha").replace('Engine("alpha")', "object()"), "expected an Engine"),
        (_good("beta"), "calls itself 'beta'; expected 'alpha'"),
        (_good("alpha").replace("Feature.SIMD128", "'simd'"), "['simd'] in info.features"),
    ],
    ids=["empty", "unmarked", "argument", "name", "none", "object", "other_name", "features"],
)
def test_wrong_hook_is_refused_by_name(site: Site, source: str, cause: str) -> None:
    site.install("alpha", source)
    message = _cause("alpha")
    assert cause in message
    assert "iree_wasm_hal_alpha" in message


def test_foreign_exception_is_translated(site: Site) -> None:
    site.install("alpha", _good("alpha").replace('return Engine("alpha")', "raise OSError('libc')"))
    message = _cause("alpha")
    assert "could not be opened: OSError: libc" in message
    assert "pip install" in message


def test_own_exception_passes(site: Site) -> None:
    raising = (
        "from iree_wasm_hal.errors import LimitError; "
        "raise LimitError('x', name='x', asked=1, allowed=0)"
    )
    site.install("alpha", _good("alpha").replace('return Engine("alpha")', raising))
    with pytest.raises(LimitError):
        open_engine("alpha")


_FRUGAL = """
from iree_wasm_hal.errors import LimitError

class Dropped:
    def __init__(self):
        self.itself = self
        taken.append(self.free)
    @staticmethod
    def free():
        taken.clear()
    def __del__(self):
        self.free()

taken = []
"""


def test_open_makes_room(site: Site) -> None:
    refuse = "if taken: raise LimitError('no seat', name='seats', asked=2, allowed=1)"
    source = _FRUGAL + _good("alpha").replace("    check", f"    {refuse}\n    check")
    site.install("alpha", f"{source}\nDropped()\n")
    gc.disable()
    try:
        assert open_engine("alpha").info.name == "alpha"
    finally:
        gc.enable()
    site.install("beta", source.replace("alpha", "beta").replace("taken = []", "taken = [1]"))
    with pytest.raises(LimitError, match="engine 'beta' cannot be opened: no seat") as e:
        open_engine("beta")
    assert (e.value.name, e.value.asked, e.value.allowed) == ("seats", 2, 1)


def test_one_name_claimed_twice(site: Site) -> None:
    site.install("alpha", _good("alpha"), distribution="dist-one")
    site.install("alpha", _good("alpha"), distribution="dist-two")
    message = _cause("alpha")
    assert "'alpha' is claimed by" in message
    assert "dist-one 1.2" in message
    assert "dist-two 1.2" in message
    assert "uninstall all but one" in message
    records = [record for record in list_engines() if record.name == "alpha"]
    assert [record.distribution for record in records] == ["dist-one", "dist-two"]
    assert all("is claimed by" in (record.cause or "") for record in records)


def test_one_distribution_found_twice(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install("alpha", _good("alpha"))
    make_site(tmp_path / "again", monkeypatch).install("alpha", _good("alpha"))
    assert open_engine("alpha").info.name == "alpha"


def test_unknown_option_is_named(site: Site) -> None:
    site.install("alpha", _good("alpha"))
    open_engine("alpha", speed=1)
    with pytest.raises(EngineError) as caught:
        open_engine("alpha", stacksize=2)
    message = str(caught.value)
    assert "engine 'alpha' has no option 'stacksize' (did you mean 'stack_size'?)" in message
    assert "its options are: speed, stack_size" in message


def test_check_options_lists_every_unknown_one() -> None:
    with pytest.raises(EngineError, match=r"no option 'a', 'b'; its options are: none"):
        check_options("alpha", {"b": 1, "a": 2}, [])


@pytest.mark.parametrize("where", ["import", "open"])
def test_a_plugin_that_exits_does_not(site: Site, where: str) -> None:
    source = "import sys\n" + _good("alpha")
    replaced = "@hookimpl" if where == "import" else '    return Engine("alpha")'
    indentation = replaced.partition(replaced.strip())[0]
    site.install("alpha", source.replace(replaced, f"{indentation}sys.exit(3)\n{replaced}"))
    assert "SystemExit: 3" in _cause("alpha")


def _run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    return done.stdout.strip()


def test_import_loads_no_plugin_and_no_native_library() -> None:
    loaded = _run(
        "import sys, iree_wasm_hal, iree_wasm_hal.engine\n"
        "names = ('wasmtime', 'cffi', '_cffi_backend', 'pytest', 'iree_wasm_hal_wasmtime')\n"
        "names += ('iree_wasm_hal_null', 'typer', 'iree')\n"
        "print([name for name in names if name in sys.modules])"
    )
    assert loaded == "[]"


def test_no_engine_installed(tmp_path: Path) -> None:
    """In a process that sees the core and its dependencies but no entry point."""
    printed = _run(
        "from importlib import metadata\n"
        "metadata.entry_points = lambda **_: ()\n"
        "from iree_wasm_hal.engine import list_engines, open_engine\n"
        "print(list_engines())\n"
        "try:\n    open_engine('wasmtime')\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    assert printed.splitlines()[0] == "[]"
    assert "EngineUnavailableError engine 'wasmtime' is not installed" in printed
    assert "No engine is installed" in printed
    assert "pip install 'iree-wasm-hal[wasmtime]'" in printed
