"""The conformance suite itself: that its guards fire."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from out_of_tree import Outcomes, run_pytest

if TYPE_CHECKING:
    from pathlib import Path

_PLUGIN = """
from importlib import metadata
from iree_wasm_hal.engine.conformance import ConformanceSuite

class TestEngine(ConformanceSuite):
    engine_name = "wasmtime"
    engine_version = metadata.version("wasmtime")
"""


def _run(folder: Path, declarations: str, selection: str) -> Outcomes:
    (folder / "test_engine.py").write_text(_PLUGIN + declarations)
    return run_pytest(folder, "test_engine.py", "-k", selection)


def test_wrong_version_fails(tmp_path: Path) -> None:
    outcomes = _run(tmp_path, "    engine_version = '1.0'\n", "test_identity")
    assert outcomes.failed == 1
    assert "FAILED test_engine.py::TestEngine::test_identity -" in outcomes.output


def test_expected_failure_that_passes_fails(tmp_path: Path) -> None:
    outcomes = _run(
        tmp_path, "    expected_failures = {'test_call_mixes*': 'a defect'}\n", "test_call_mixes"
    )
    assert outcomes.failed == 1
    assert "XPASS(strict)" in outcomes.output


def test_expected_failure_that_fails_is_reported(tmp_path: Path) -> None:
    broken = (
        "    expected_failures = {'test_call_without_arguments': 'a defect'}\n"
        "    def instantiate(self, engine, module, memory):\n"
        "        return super().instantiate(engine, 'memory', memory)\n"
    )
    outcomes = _run(tmp_path, broken, "test_call_without_arguments")
    assert (outcomes.passed, outcomes.failed, outcomes.xfailed) == (0, 0, 1)


def test_declared_but_present_feature_fails(tmp_path: Path) -> None:
    outcomes = _run(tmp_path, "    unsupported = {'memory64': 'no'}\n", "test_missing_features")
    assert outcomes.failed == 1


def test_unsupported_feature_skips_its_tests(tmp_path: Path) -> None:
    outcomes = _run(tmp_path, "    unsupported = {'memory64': 'no'}\n", "test_memory64_computes")
    assert (outcomes.passed, outcomes.failed, outcomes.skipped) == (0, 0, 1)
    assert "memory64 unsupported: no" in outcomes.output


@pytest.mark.parametrize("pattern", ["test_call_nothing", "memory65"])
def test_declaration_of_nothing_fails(tmp_path: Path, pattern: str) -> None:
    outcomes = _run(
        tmp_path, f"    expected_failures = {{{pattern!r}: 'why'}}\n", "test_declarations_match"
    )
    assert outcomes.failed == 1
    assert "is neither a feature nor a pattern" in outcomes.output


def test_declaration_without_reason_fails(tmp_path: Path) -> None:
    outcomes = _run(
        tmp_path, "    unsupported = {'test_call_*': ' '}\n", "test_declarations_have_reasons"
    )
    assert outcomes.failed == 1
    assert "'test_call_*' has no reason" in outcomes.output


def test_failed_asserts_show_values(tmp_path: Path) -> None:
    outcomes = _run(tmp_path, "    engine_version = '1.0'\n", "test_identity")
    assert "assert '50." in outcomes.output
