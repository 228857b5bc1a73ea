"""The official WebAssembly tests, through the engine contract, on every engine that opens here."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from convert import source_hash
from spec_differences import DIFFERENCES, Difference, check_differences
from spec_document import check_section, count_groups, documented_version
from spec_execution import Failure, Outcome
from spec_run import run_engine
from spec_scripts import SELF_CHECK, STAMP, Script, load_script, load_scripts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_MAKE = "make spec-tests converts them and needs cargo"

# Opens wasmtime so that compiling what must be refused for `message` kills the process.
_DEADLY_WORKER = """
import os, signal, sys
from spec_scripts import load_script
from spec_worker import serve
from iree_wasm_hal.engine import open_engine

script = load_script("wasm-v2/store")
deadly = {one.wasm for one in script.refusals if one.line in (LINES)}

class Deadly:
    def __init__(self):
        self.engine = open_engine("wasmtime")
    def __getattr__(self, name):
        return getattr(self.engine, name)
    def compile(self, wasm):
        if wasm in deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.engine.compile(wasm)

serve(Deadly)
"""


@pytest.fixture(scope="module")
def scripts() -> list[Script]:
    """All scripts; where nothing was converted the tests are left out, or fail."""
    if STAMP.exists() and STAMP.read_text() == source_hash():
        return load_scripts()
    state = "made by another converter" if STAMP.exists() else "not there"
    reason = f"the official wasm tests are {state}: {_MAKE}"
    if os.environ.get("IREE_WASM_HAL_REQUIRE_ENGINES"):
        pytest.fail(reason)
    pytest.skip(reason)


def test_official_tests(
    engine_name: str, scripts: list[Script], record_property: Callable[[str, object], None]
) -> None:
    version, outcomes = run_engine(engine_name, scripts)
    cells = count_groups(scripts, outcomes)
    passed = sum(cell.passed for cell in cells.values())
    failed = sum(cell.failed for cell in cells.values())
    record_property("official tests", f"{passed} passed, {failed} known differences")
    # Another release than the documented one, which a system library becomes by itself, may do
    # better, but not worse.
    is_documented = documented_version(engine_name) == version
    known = DIFFERENCES.get(engine_name, ())
    assert check_differences(outcomes, known, may_be_fewer=not is_documented) == []
    if not is_documented:
        return
    missing = check_section(scripts, engine_name, cells)
    assert missing == [], "python tests/spec/run_spec_tests.py --write brings docs up to date"


@pytest.mark.usefixtures("scripts")
def test_false_assertions_fail(engine_name: str) -> None:
    script = load_script(SELF_CHECK)
    _, outcomes = run_engine(engine_name, [script])
    outcome = outcomes[SELF_CHECK]
    commands = sum(module.command_count for module in script.modules)
    failed = sum(failure.count for failure in outcome.failures)
    assert failed > 5
    assert outcome.passed + failed + outcome.unsupported == commands
    # A module that instantiates is a command that passes; nothing else does.
    assert outcome.passed <= len(script.modules)


def test_engine_that_dies_is_a_failure_of_one_command(
    tmp_path: Path, scripts: list[Script], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = next(one for one in scripts if one.name == "wasm-v2/store")
    lines = [refusal.line for refusal in script.refusals][3:5]
    worker = tmp_path / "worker.py"
    worker.write_text(_DEADLY_WORKER.replace("LINES", ", ".join(map(str, lines))))
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(__file__))
    _, outcomes = run_engine("deadly", [script], worker)
    outcome = outcomes[script.name]
    assert [failure.line for failure in outcome.failures] == lines
    assert all("SIGKILL" in failure.what for failure in outcome.failures)
    commands = sum(module.command_count for module in script.modules)
    assert outcome.passed == commands + len(script.refusals) - len(lines)


def test_engine_that_always_dies_is_given_up(tmp_path: Path, scripts: list[Script]) -> None:
    script = next(one for one in scripts if one.name == "wasm-v2/store")
    worker = tmp_path / "worker.py"
    worker.write_text("""print('{"version": "0"}', flush=True); input()""")
    _, outcomes = run_engine("dead", [script], worker)
    (failure,) = outcomes[script.name].failures
    assert failure.what == "given up after 20 deaths"
    commands = sum(module.command_count for module in script.modules)
    assert failure.count == commands + len(script.refusals)


def test_every_group_has_commands(scripts: list[Script]) -> None:
    cells = count_groups(scripts, {script.name: Outcome(passed=1) for script in scripts})
    assert all(cell.passed for cell in cells.values())
    assert sum(script.name.startswith("simd/") for script in scripts) > 50


class TestDifferences:
    _KNOWN = (Difference("a/x b/*", "wrong", 2, "rounds down"),)

    def test_known(self) -> None:
        outcomes = {
            "a/x": Outcome(failures=[Failure(1, "wrong result")]),
            "b/y": Outcome(failures=[Failure(2, "wrong result")]),
        }
        assert check_differences(outcomes, self._KNOWN) == []

    def test_unknown_failure(self) -> None:
        outcomes = {"a/y": Outcome(failures=[Failure(7, "wrong result")])}
        assert check_differences(outcomes, ()) == ["a/y.wast:7: wrong result"]

    @pytest.mark.parametrize("count", [0, 1, 3])
    def test_another_count(self, count: int) -> None:
        outcomes = {"a/x": Outcome(failures=[Failure(one, "wrong") for one in range(count)])}
        complaint = f"rounds down: 2 commands are known, {count} were seen"
        assert check_differences(outcomes, self._KNOWN) == [complaint]
        newer = check_differences(outcomes, self._KNOWN, may_be_fewer=True)
        assert newer == ([complaint] if count > 2 else [])
