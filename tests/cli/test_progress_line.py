"""The line that tells how far a compilation is, and who may see it."""

from __future__ import annotations

import io
import sys
import time

import pytest

from iree_wasm_hal.cli import progress
from iree_wasm_hal.engine import observe_compilation, report_compilation


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What time it is: the last entry."""
    times = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: times[-1])
    return times


def test_a_long_compilation_is_shown_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.ProgressLine("compiling m.vmfb") as line:
        line.show(0, 2048)
        assert terminal.getvalue() == ""
        clock.append(103.0)
        line.show(512, 2048)
        assert terminal.getvalue() == "\r\x1b[Kcompiling m.vmfb: 25 % of 2 KiB, 3 s"
    assert terminal.getvalue().endswith("\r\x1b[K")


@pytest.mark.parametrize("stream", [io.StringIO, lambda: None], ids=["file", "closed"])
def test_nothing_is_shown_elsewhere(
    monkeypatch: pytest.MonkeyPatch, clock: list[float], stream: type[io.StringIO]
) -> None:
    errors = stream()
    monkeypatch.setattr(sys, "stderr", errors)
    with progress.ProgressLine("compiling m.vmfb") as line:
        clock.append(103.0)
        line.show(0, 0)
    assert errors is None or errors.getvalue() == ""


def test_reports_reach_the_innermost_observer() -> None:
    seen: list[tuple[str, int, int]] = []
    report_compilation(1, 2)
    with observe_compilation(lambda done, total: seen.append(("outer", done, total))):
        with observe_compilation(lambda done, total: seen.append(("inner", done, total))):
            report_compilation(0, 9)
        with observe_compilation(None):
            report_compilation(4, 9)
        report_compilation(9, 9)
    report_compilation(1, 2)
    assert seen == [("inner", 0, 9), ("outer", 9, 9)]
