"""Which submissions are shared with helpers: those that it makes faster."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import pytest

from iree_wasm_hal.hal.sharing import Sharing

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNT = 1000
DISTURBED_S = 16e-3


class Machine:
    """Executes one submission again and again, as long as the machine at hand would take.

    Args:
        alone_s: Of one execution by the submitter alone.
        shared_s: Of one with helpers.
        asleep_s: What it takes longer when the one before was not shared.
        astray_s: Time for which helpers that begin to help hold the submitter up instead: the
            system woke them on its core.
        disturbed_every: One in so many takes much longer, whichever way.
    """

    def __init__(
        self,
        alone_s: float,
        shared_s: float,
        *,
        asleep_s: float = 0.0,
        astray_s: float = 0.0,
        disturbed_every: int = 0,
    ) -> None:
        self.alone_s = alone_s
        self.shared_s = shared_s
        self.asleep_s = asleep_s
        self.astray_s = astray_s
        self.disturbed_every = disturbed_every
        self.sharing = Sharing()
        self.decided: list[bool] = []
        self.clock_s = 0.0
        self._taken_s: list[float] = []
        self._astray_until_s = 0.0

    @property
    def worst_s(self) -> float:
        """Of all executions the share that went the slower way, by time."""
        faster = self.shared_s < self.alone_s
        slower = (s for s, d in zip(self._taken_s, self.decided, strict=True) if d != faster)
        return sum(slower) / self.clock_s

    def execute(self, count: int = COUNT) -> list[bool]:
        """Executes so often, and returns what was decided for each."""
        for _ in range(count):
            is_shared = self.sharing.is_worthwhile
            taken_s = self._taken(is_shared)
            self.decided.append(is_shared)
            self._taken_s.append(taken_s)
            self.clock_s += taken_s
            self.sharing.note(taken_s)
        return self.decided[-count:]

    def _taken(self, is_shared: bool) -> float:
        number = len(self.decided)
        if self.disturbed_every and number % self.disturbed_every == self.disturbed_every - 1:
            return DISTURBED_S
        if not is_shared:
            return self.alone_s
        taken_s = self.shared_s
        if not self.decided or not self.decided[-1]:
            taken_s += self.asleep_s
            self._astray_until_s = self.clock_s + self.astray_s
        return 2 * self.alone_s if self.clock_s < self._astray_until_s else taken_s


def test_long_submissions_are_always_shared() -> None:
    assert all(Machine(alone_s=0.02, shared_s=0.01).execute())


def test_long_submissions_are_shared_whatever_the_first_took() -> None:
    sharing = Sharing()
    for taken_s in (5.0, *[0.002] * COUNT):
        assert sharing.is_worthwhile
        sharing.note(taken_s)


def test_the_first_execution_is_shared() -> None:
    assert Sharing().is_worthwhile


@pytest.mark.parametrize("asleep_s", [0.0, 40e-6, 5e-3])
@pytest.mark.parametrize(("alone_s", "shared_s"), [(5e-6, 20e-6), (100e-6, 300e-6)])
def test_what_is_faster_alone_is_soon_left_alone(
    alone_s: float, shared_s: float, asleep_s: float
) -> None:
    machine = Machine(alone_s, shared_s, asleep_s=asleep_s)
    early = machine.execute(100)
    assert early[20:30] == [False] * 10
    machine.execute(100 * COUNT)
    assert machine.worst_s < 0.05
    assert any(machine.decided[COUNT:]), "it is tried again"


@pytest.mark.parametrize("asleep_s", [0.0, 40e-6, 5e-3])
@pytest.mark.parametrize(("alone_s", "shared_s"), [(80e-6, 45e-6), (370e-6, 200e-6)])
def test_what_is_faster_shared_stays_shared(
    alone_s: float, shared_s: float, asleep_s: float
) -> None:
    """Also where helpers had fallen asleep when it was tried alone."""
    machine = Machine(alone_s, shared_s, asleep_s=asleep_s)
    assert machine.execute(12)[-7:] == [False] * 7, "one trial"
    machine.execute(30 * COUNT)
    assert machine.worst_s < 0.05
    assert not all(machine.decided[-5 * COUNT :]), "it is tried again"


@pytest.mark.parametrize("cold_count", [1, 5, 20])
def test_cold_executions_at_the_start_decide_nothing_for_long(cold_count: int) -> None:
    machine = Machine(alone_s=370e-6, shared_s=900e-6)
    machine.execute(cold_count)
    machine.shared_s = 200e-6
    machine.execute(80)
    assert machine.execute(20) == [True] * 20


@pytest.mark.parametrize("astray_s", [1e-3, 4e-3, 8e-3])
def test_helpers_that_begin_on_the_wrong_core_are_waited_for(astray_s: float) -> None:
    machine = Machine(alone_s=370e-6, shared_s=200e-6, asleep_s=50e-6, astray_s=astray_s)
    machine.execute(100)
    late = machine.execute(10 * COUNT)
    assert late.count(True) > 0.9 * len(late)


def test_nobody_is_waited_for_where_there_is_little_to_gain() -> None:
    machine = Machine(alone_s=20e-6, shared_s=30e-6)
    machine.execute(5 * COUNT)
    assert max(_runs(machine.decided)) == 7


@pytest.mark.parametrize("every", [3, 4, 5, 7, 50])
@pytest.mark.parametrize(("alone_s", "shared_s"), [(370e-6, 200e-6), (4e-6, 25e-6)])
def test_disturbed_executions_do_not_mislead(alone_s: float, shared_s: float, every: int) -> None:
    machine = Machine(alone_s, shared_s, disturbed_every=every)
    machine.execute(200)
    faster = shared_s < alone_s
    late = machine.execute(5 * COUNT)
    assert late.count(faster) > 0.8 * len(late)


def test_a_submission_that_changes_is_found_out() -> None:
    machine = Machine(alone_s=5e-6, shared_s=20e-6)
    machine.execute()
    machine.alone_s, machine.shared_s = 190e-6, 100e-6
    assert machine.execute()[-10:] == [True] * 10
    machine.alone_s, machine.shared_s = 5e-6, 20e-6
    assert machine.execute(20 * COUNT)[-10:] == [False] * 10


def test_what_becomes_long_is_shared() -> None:
    machine = Machine(alone_s=5e-6, shared_s=20e-6)
    machine.execute()
    machine.alone_s, machine.shared_s = 20e-3, 10e-3
    machine.execute(20)
    assert all(machine.execute())


def _runs(decided: list[bool]) -> Iterator[int]:
    """Lengths of the runs of shared executions."""
    length = 0
    for is_shared in decided:
        length = length + 1 if is_shared else 0
        yield length


def test_ctrl_c_amid_a_judgement_is_no_error_later() -> None:
    class Cleared(deque[float]):
        def clear(self) -> None:
            super().clear()
            raise KeyboardInterrupt

    sharing = Sharing()
    sharing._recent_s = Cleared(maxlen=5)
    interrupts = 0
    for _ in range(100):
        try:
            sharing.note(1e-5)
        except KeyboardInterrupt:
            interrupts += 1
    assert interrupts > 1
