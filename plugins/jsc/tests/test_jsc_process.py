"""What is particular to this plugin's library and to the process that opens it."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from iree_wasm_hal_jsc import library

from iree_wasm_hal.engine import TrapKind, open_engine
from iree_wasm_hal.errors import EngineError, EngineUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

STEPS = Path(__file__).parent / "jsc_steps.py"


@pytest.fixture
def fresh_library() -> Iterator[None]:
    """Lets the next engine look for the library again."""
    library.load_library.cache_clear()
    yield
    library.load_library.cache_clear()


def step(name: str, **environment: str) -> list[str]:
    """Runs a step in a child process, which must end well; its lines."""
    done = subprocess.run(
        [sys.executable, str(STEPS), name],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    return done.stdout.splitlines()


# The library


@pytest.mark.usefixtures("fresh_library")
def test_absent_library_names_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "FILE_NAMES", ("libabsent-1.so.0", "libabsent-2.so.0"))
    with pytest.raises(EngineUnavailableError) as caught:
        open_engine("jsc")
    message = str(caught.value)
    assert "libabsent-1.so.0" in message
    assert "apt-get install libjavascriptcoregtk-4.1-0" in message
    assert "dnf install javascriptcoregtk4.1" in message
    assert "pacman -S webkit2gtk-4.1" in message
    assert "\n" not in message


@pytest.mark.usefixtures("fresh_library")
def test_libraries_are_tried_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("libabsent-1.so.0", *library.FILE_NAMES)
    monkeypatch.setattr(library, "FILE_NAMES", names)
    assert library.load_library().version


def _foreign_elf() -> bytes:
    """The header of a 64-bit shared library for AArch64 (or x86-64, there)."""
    machine = 62 if os.uname().machine == "aarch64" else 183
    return b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HHI", 3, machine, 1) + bytes(40)


@pytest.mark.usefixtures("fresh_library")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not a library", r"cannot be opened: .*gtk\.so.*apt-get"),
        (_foreign_elf(), rf"is not installed for {os.uname().machine}\. .*apt-get"),
    ],
    ids=["junk", "foreign"],
)
def test_unusable_library_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "libjavascriptcoregtk.so"
    path.write_bytes(content)
    monkeypatch.setattr(library, "FILE_NAMES", ("libabsent.so", str(path)))
    with pytest.raises(EngineUnavailableError, match=message):
        open_engine("jsc")


@pytest.mark.usefixtures("fresh_library")
def test_library_without_the_functions_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import _cffi_backend

    monkeypatch.setattr(library, "FILE_NAMES", (_cffi_backend.__file__,))
    with pytest.raises(EngineUnavailableError, match=r"lacks jsc_context_evaluate.*apt-get"):
        open_engine("jsc")


@pytest.mark.usefixtures("fresh_library")
def test_other_platforms_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "sunos5")
    with pytest.raises(EngineUnavailableError, match="sunos5"):
        open_engine("jsc")


def test_switched_off_webassembly_is_unavailable() -> None:
    (line,) = step("features", JSC_useWasm="0")
    assert line.startswith("unavailable: ")
    assert "WebAssembly is switched off" in line


def test_engine_has_no_options() -> None:
    with pytest.raises(EngineError, match="'jsc' has no option 'stack'"):
        open_engine("jsc", stack=1)


# JavaScriptCore's own options


def test_options_do_not_stay_in_the_environment() -> None:
    assert step("environment") == ["None None False"]


def test_options_of_the_user_stay() -> None:
    assert step("environment", JSC_useWasmRelaxedSIMD="0") == ["0 b'0' True"]
    features, *notes = step("features", JSC_useWasmRelaxedSIMD="0")
    assert "relaxed-madd" not in features.split()
    assert any(line.startswith("relaxed-madd: needs JSC_useWasmRelaxedSIMD=1") for line in notes)


def test_library_that_another_initialised() -> None:
    features, *notes = step("initialised_by_another")
    assert {"simd128", "atomics", "shared-memory"} <= set(features.split())
    assert "relaxed-madd" not in features.split()
    assert any(line.startswith("relaxed-madd: needs JSC_useWasmRelaxedSIMD=1") for line in notes)


def test_without_compilers_scalar_code_runs() -> None:
    features, *notes = step("features", JSC_useJIT="0")
    assert "simd128" not in features.split()
    assert any(line.startswith("simd128: needs JavaScriptCore's compilers") for line in notes)


def test_user_signals_are_left_alone() -> None:
    assert step("user_signal") == ["True True"]


def test_signals_of_native_libraries_are_left_alone() -> None:
    assert step("native_signals") == ["True True"]


# The process


def test_more_memories_without_the_cage() -> None:
    assert step("many_memories", GIGACAGE_ENABLED="0") == ["1"]


def test_little_address_space() -> None:
    *lines, last = step("little_address_space")
    assert lines == ["7", TrapKind.OUT_OF_BOUNDS_MEMORY]
    assert last == f"address space {2**32}"


def test_too_little_address_space() -> None:
    (line,) = step("too_little_address_space")
    assert line.startswith("unavailable: engine 'jsc': JavaScriptCore reserves")
    assert "ulimit -v" in line


def test_collector_that_never_rests() -> None:
    """It sees native stacks and what host.js holds, and must need no more."""
    options = {"JSC_collectContinuously": "1", "JSC_scribbleFreeCells": "1"}
    assert step("collect_continuously", **options) == ["True True"]


def test_forked_children_are_kept_off() -> None:
    *refusals, unavailable, last = step("fork")
    assert len(refusals) == 3
    assert all("when this process was forked" in refusal for refusal in refusals)
    assert unavailable.startswith("unavailable: engine 'jsc' was in use when")
    assert last == "0 42"


@pytest.mark.parametrize("number", range(3))
def test_process_ends_well_with_everything_open(number: int) -> None:
    del number  # again, since it is a matter of threads
    assert step("leave_open") == [TrapKind.OUT_OF_BOUNDS_MEMORY]


def test_process_ends_well_during_a_call() -> None:
    assert step("leave_running") == ["running"]


# Its threads


def test_threads_without_stack_for_javascript() -> None:
    assert step("small_stacks") == ["42", "42"]


def test_collector_stops_no_thread_of_pythons() -> None:
    assert step("blocked_signals") == ["42", "42", "42"]


def test_engine_opens_on_a_thread_without_signals() -> None:
    assert step("opened_without_signals") == [TrapKind.OUT_OF_BOUNDS_MEMORY]


def test_interrupt_waits_for_the_call() -> None:
    assert step("interrupted_call") == [
        "during the call: True",
        "it is over: True",
        "interrupted; the next call: True",
    ]


def test_interrupted_start_leaves_nothing() -> None:
    assert step("interrupted_start") == ["True True"]
