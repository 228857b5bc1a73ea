"""The rule by which the hammer judges resident memory."""

from __future__ import annotations

import pytest
from resident_memory import growth


@pytest.mark.parametrize(
    ("medians", "expected"),
    [
        pytest.param([1, 9, 100, 100, 100, 100], 0.0, id="what came before settling is no matter"),
        pytest.param([1, 1, 100, 100, 50, 70, 110, 110], 0.1, id="nor what was in between"),
        pytest.param([1, 1, 100, 70, 120], 0.2, id="halves of a short time"),
        pytest.param([1, 1, 100, 90], -0.1, id="it may shrink"),
        pytest.param([1, 1, 100], None, id="too short"),
        pytest.param([1], None, id="still settling"),
    ],
)
def test_growth(medians: list[float], expected: float | None) -> None:
    assert growth(medians, 2) == (None if expected is None else pytest.approx(expected))
