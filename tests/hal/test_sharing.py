"""Which submissions are shared with helpers: those that it makes faster."""

from __future__ import annotations

import pytest

from iree_wasm_hal.hal.sharing import Sharing

COUNT = 1000


def decisions(alone_s: float, shared_s: float, asleep_s: float = 0.0) -> list[bool]:
    """What is decided in turn if executions take that long.

    ``asleep_s`` more where the execution before was not shared.
    """
    sharing = Sharing()
    decided: list[bool] = []
    for _ in range(COUNT):
        is_shared = sharing.is_worthwhile()
        was_shared = bool(decided) and decided[-1]
        decided.append(is_shared)
        sharing.note(shared_s + (0.0 if was_shared else asleep_s) if is_shared else alone_s)
    return decided


def test_long_submissions_are_always_shared() -> None:
    assert all(decisions(alone_s=0.02, shared_s=0.01))


def test_long_submissions_are_shared_whatever_the_first_took() -> None:
    sharing = Sharing()
    for taken_s in (5.0, *[0.002] * COUNT):
        assert sharing.is_worthwhile()
        sharing.note(taken_s)


def test_the_first_execution_is_shared() -> None:
    assert Sharing().is_worthwhile()


@pytest.mark.parametrize("asleep_s", [0.0, 40e-6, 5e-3])
def test_what_is_faster_alone_is_soon_left_alone(asleep_s: float) -> None:
    decided = decisions(alone_s=5e-6, shared_s=20e-6, asleep_s=asleep_s)
    assert sum(decided) < COUNT // 50
    assert sum(decided[COUNT // 2 :]) <= 4, "trials become rare"


@pytest.mark.parametrize("asleep_s", [0.0, 40e-6, 5e-3])
def test_what_is_faster_shared_stays_shared(asleep_s: float) -> None:
    """Also where helpers had fallen asleep when it was tried alone."""
    decided = decisions(alone_s=80e-6, shared_s=45e-6, asleep_s=asleep_s)
    assert decided.count(False) < COUNT // 50


def test_a_submission_that_changes_is_found_out() -> None:
    sharing = Sharing()
    for _ in range(COUNT):
        sharing.note(20e-6 if sharing.is_worthwhile() else 5e-6)
    late = []
    for _ in range(5 * COUNT):
        late.append(sharing.is_worthwhile())
        sharing.note(100e-6 if late[-1] else 190e-6)
    assert all(late[-10:])


def test_one_slow_execution_decides_nothing() -> None:
    sharing = Sharing()
    for _ in range(COUNT):
        sharing.note(45e-6 if sharing.is_worthwhile() else 80e-6)
    assert sharing.is_worthwhile()
    sharing.note(500e-6)
    assert [sharing.is_worthwhile() for _ in range(5)].count(True) >= 4
