"""Engines that are not installed, or whose native library is not what it should be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import _cffi_backend
import pytest

import iree_wasm_hal as iwh
from iree_wasm_hal.engine import describe_open_failure
from iree_wasm_hal.engine.known_engines import KNOWN_ENGINES

_BROKEN_LIBRARY = Path(__file__).with_name("broken_library.py")
_NO_ENTRY_POINTS = """
import json, sys
from importlib import metadata
metadata.entry_points = lambda **_: ()
import iree_wasm_hal as iwh
causes = {}
for name in sys.argv[1:]:
    try:
        iwh.open_engine(name)
    except iwh.EngineUnavailableError as error:
        causes[name] = str(error)
print(json.dumps(causes))
"""


@pytest.fixture(scope="module")
def absent() -> dict[str, str]:
    """What is said of each known engine, and of one unknown, when none is installed."""
    command = [sys.executable, "-c", _NO_ENTRY_POINTS, *KNOWN_ENGINES, "wasmedge"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    causes: dict[str, str] = json.loads(done.stdout)
    return causes


@pytest.mark.parametrize("name", KNOWN_ENGINES)
def test_an_absent_engine_says_how_to_install_it(absent: dict[str, str], name: str) -> None:
    assert f"engine '{name}' is not installed" in absent[name]
    assert f"pip install 'iree-wasm-hal[{name}]'" in absent[name]


@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("wamr", ["cargo", "cmake", "libsimde-dev"]),
        ("wamr-aot", ["cargo", "cmake", "C++ compiler", "llvm-22-dev"]),
        ("wasm3", ["C compiler", "headers"]),
        ("wasmer", ["cargo"]),
        ("jsc", ["apt-get install libjavascriptcoregtk-4.1-0"]),
    ],
)
def test_an_absent_engine_says_what_it_needs(
    absent: dict[str, str], name: str, needs: list[str]
) -> None:
    assert all(need in absent[name] for need in needs)


def test_an_unknown_engine_lists_the_known_ones(absent: dict[str, str]) -> None:
    assert "there is no engine 'wasmedge'" in absent["wasmedge"]
    assert all(name in absent["wasmedge"] for name in KNOWN_ENGINES)


def _elf(word_size: int, machine: int) -> bytes:
    """The header of a shared object for a machine that this one is not."""
    return b"\x7fELF" + bytes([word_size, 1, 1]) + bytes(9) + b"\3\0" + bytes([machine, 0]) + b"\1"


_FILES = {
    "machine": (_elf(2, 21) + bytes(999), "library for ppc64"),
    "word_size": (_elf(1, 3) + bytes(999), "library for i386"),
    "text": (b"Not Found: no such wheel\n", "no library, it begins with b'Not Foun'"),
    "cut": (b"\x7fEL", "no library"),
}


@pytest.fixture(params=[*_FILES, "empty", "symbols"])
def broken(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """A file that is not the engine's library, and what is to be said of it."""
    if request.param == "symbols":
        return Path(_cffi_backend.__file__), ""
    content, what = _FILES.get(request.param, (b"", ""))
    path = tmp_path / "libengine.so"
    path.write_bytes(content)
    return path, what


def test_a_broken_library_is_one_sentence(engine_name: str, broken: tuple[Path, str]) -> None:
    path, what = broken
    command = [sys.executable, str(_BROKEN_LIBRARY), engine_name, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    kind, _, message = done.stdout.strip().partition(": ")
    assert kind == "EngineUnavailableError", done.stdout + done.stderr
    assert message.startswith(f"engine '{engine_name}'")
    assert "\n" not in message
    # The system's libraries are found by name, where the loader passes over those that do not fit.
    assert what in message or engine_name == "jsc"
    assert "To " in message, "it does not say what to do"


@pytest.mark.parametrize(("content", "what"), _FILES.values(), ids=_FILES)
def test_what_the_loader_leaves_out(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "lib.so"
    path.write_bytes(content)
    assert what in describe_open_failure(path, OSError("no such file"))


def test_the_loaders_words_stand_where_they_are_right(tmp_path: Path) -> None:
    error = OSError("libm.so.7: cannot open shared object file")
    assert describe_open_failure(tmp_path / "absent.so", error) == str(error)
    assert describe_open_failure(_cffi_backend.__file__, error) == str(error)


def test_an_absent_engine_keeps_no_other_from_loading(traps_archive: Path) -> None:
    with pytest.raises(iwh.EngineUnavailableError, match="there is no engine"):
        iwh.load(traps_archive, engine="wasmtim")
    iwh.load(traps_archive, engine="wasmtime").close()
