"""Listing engines that crash, hang, print or exit: each is one record, and harms no other."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import pytest
from out_of_tree import Site, make_site

from iree_wasm_hal.engine import (
    EngineInfo,
    EngineRecord,
    Feature,
    MemoryModel,
    list_engines,
    listing,
)
from iree_wasm_hal.engine.info_document import info_from_document, info_to_document
from iree_wasm_hal.engine.plugins import installed_names

if TYPE_CHECKING:
    from pathlib import Path

_GOOD = """
import faulthandler, os, signal, subprocess, sys, threading, time
from iree_wasm_hal.engine import EngineInfo, Feature, MemoryModel, hookimpl

IMPORT

class Engine:
    artifact_key = None
    def __init__(self, name):
        notes = {Feature.MEMORY64: "left \\u2013 out"}
        features = frozenset({Feature.SIMD128, Feature.THREADS})
        self.info = EngineInfo(name, "7.8", "/lib/x.so", MemoryModel.OWNS, features, notes)
    def close(self):
        CLOSE

@hookimpl
def iree_wasm_hal_open_engine(options):
    OPEN
    return Engine("NAME")
"""
_INFO = EngineInfo(
    "good",
    "7.8",
    "/lib/x.so",
    MemoryModel.OWNS,
    frozenset({Feature.SIMD128, Feature.THREADS}),
    {Feature.MEMORY64: "left \N{EN DASH} out"},
)

_CRASHES = {
    "faulthandler._sigsegv()": "SIGSEGV",
    "os.abort()": "SIGABRT",
    "os.kill(os.getpid(), signal.SIGKILL)": "SIGKILL",
    "os._exit(7)": "exit status 7",
    "os._exit(0)": "exit status 0",
}
_EXCEPTIONS = {
    "sys.exit(3)": "SystemExit: 3",
    "raise KeyboardInterrupt('now')": "KeyboardInterrupt: now",
    "raise GeneratorExit": "GeneratorExit",
    "raise BaseException('odd')": "BaseException: odd",
    "raise OSError('libc')": "OSError: libc",
    "import no_such_native_library": "No module named 'no_such_native_library'",
}


def _plugin(name: str, **code: str) -> str:
    source = _GOOD.replace("NAME", name)
    for place in ("IMPORT", "OPEN", "CLOSE"):
        source = source.replace(place, code.get(place.lower(), "pass"))
    return source


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Has one engine that works."""
    site = make_site(tmp_path / "site", monkeypatch)
    site.install("good", _plugin("good"))
    # Engines of this machine would only take time.
    names = {"good", "bad", "loud", "slow"}
    monkeypatch.setattr(listing, "installed_names", lambda: sorted(names & {*installed_names()}))
    return site


def _records(**options: float) -> dict[str, EngineRecord]:
    records = {record.name: record for record in list_engines(**options)}
    assert list(records) == sorted(records)
    assert records["good"].info == _INFO
    assert records["good"].cause is None
    return records


def _cause(name: str, **options: float) -> str:
    record = _records(**options)[name]
    assert not record.available
    assert record.distribution == f"iree-wasm-hal-{name}"
    assert record.version == "1.2"
    assert "\n" not in str(record.cause)
    return str(record.cause)


def test_listing_loads_no_plugin(site: Site) -> None:
    record = _records()["good"]
    assert (record.distribution, record.version) == ("iree-wasm-hal-good", "1.2")
    assert "iree_wasm_hal_good" not in sys.modules
    assert site.folder.is_dir()


def test_descriptions_travel_whole() -> None:
    assert info_from_document(info_to_document(_INFO)) == _INFO


@pytest.mark.parametrize("place", ["import", "open", "close"])
@pytest.mark.parametrize(("code", "how"), _CRASHES.items())
def test_a_crash_is_one_record(site: Site, place: str, code: str, how: str) -> None:
    site.install("bad", _plugin("bad", **{place: code}))
    assert _cause("bad") == f"engine 'bad' ended the process that opened it with {how}"


@pytest.mark.parametrize("place", ["import", "open", "close"])
@pytest.mark.parametrize(("code", "what"), _EXCEPTIONS.items())
def test_an_exception_is_one_record(site: Site, place: str, code: str, what: str) -> None:
    site.install("bad", _plugin("bad", **{place: code}))
    cause = _cause("bad")
    assert what in cause
    assert "engine 'bad'" in cause


def test_last_words_are_quoted(site: Site) -> None:
    code = "os.write(2, b'\\n\\nlibbad: assertion failed: x > 0\\nmore\\n'); os.abort()"
    site.install("bad", _plugin("bad", open=code))
    assert _cause("bad").endswith("SIGABRT (libbad: assertion failed: x > 0)")


@pytest.mark.parametrize(
    "code",
    [
        "print('garbage')",
        "os.write(1, b'{}\\n' * 100000); os.write(2, b'x' * 3000000)",
        "sys.stdout.close()",
        "os.close(1)",
        "subprocess.Popen(['sleep', '60'])",
        "threading.Thread(target=time.sleep, args=(60,)).start()",
        "signal.signal(signal.SIGSEGV, signal.SIG_IGN)",
    ],
)
@pytest.mark.parametrize("place", ["import", "open"])
def test_noise_is_no_harm(site: Site, place: str, code: str) -> None:
    site.install("loud", _plugin("loud", **{place: code}))
    record = _records()["loud"]
    assert record.info is not None, record.cause
    assert record.info.version == "7.8"


@pytest.mark.parametrize(
    "code", ["while True: pass", "signal.pause()", "os.closerange(0, 99); signal.pause()"]
)
def test_an_engine_that_never_opens(site: Site, code: str) -> None:
    site.install("slow", _plugin("slow", open=code))
    assert _cause("slow", timeout_s=2) == "engine 'slow' did not open within 2 s"


def test_a_daemon_left_behind_is_ended(site: Site, tmp_path: Path) -> None:
    left = tmp_path / "pid"
    start = "child = subprocess.Popen(['sleep', '60'])"
    code = f"{start}; open({str(left)!r}, 'w').write(str(child.pid)); os.abort()"
    site.install("bad", _plugin("bad", open=code))
    assert "SIGABRT" in _cause("bad", timeout_s=60)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        state = _process_state(int(left.read_text()))
        if state in {"", "Z"}:
            return
    pytest.fail("the engine's own child lives on")


def _process_state(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


def test_a_folder_full_of_traps(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the caller happens to stand must not matter to what is imported."""
    for module in ("json", "iree_wasm_hal", "selectors"):
        (tmp_path / f"{module}.py").write_text("raise SystemError('imported from the folder')")
    monkeypatch.chdir(tmp_path)
    assert _records()["good"].available
    assert os.getcwd() == str(tmp_path)
    assert site.folder.is_dir()


def test_no_process_can_be_started(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(site.folder / "no-python"))
    (record,) = [record for record in list_engines() if record.name == "good"]
    assert "engine 'good' was not tried, no process starts" in str(record.cause)
    assert "no-python" in str(record.cause)
