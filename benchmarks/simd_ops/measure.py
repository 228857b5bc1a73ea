"""Runs cases on an engine: are they valid, are they right, what does a step cost."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from iree_wasm_hal.engine import MemoryType
from iree_wasm_hal.errors import WasmCompileError
from simd_ops.program import STEPS_PER_ROUND, assemble, expected, initial_memory

if TYPE_CHECKING:
    from iree_wasm_hal.engine import Engine, Memory, WasmFunction
    from simd_ops.cases import Case, Group

__all__ = ["Result", "WrongResultError", "check", "measure", "validates"]

_CHECKED_ROUNDS = (1, 17)
_STEADY_CALLS = 4
_WARM_UP_LIMIT_S = 3.0


class WrongResultError(Exception):
    """An engine computed something else than numpy."""


@dataclass(frozen=True, slots=True)
class Result:
    """One group on one engine; nanoseconds per step of the group's own case."""

    valid: bool
    ns: float | None = None
    plain_ns: float | None = None

    @property
    def ratio(self) -> float | None:
        """Time of the plain equivalent, as a multiple."""
        return self.plain_ns / self.ns if self.ns and self.plain_ns else None


class _Runner:
    """A case on an engine, with a memory of its own."""

    def __init__(self, engine: Engine, group: Group, case: Case) -> None:
        self.group = group
        self.case = case
        program = engine.compile(assemble(case))
        self._memory: Memory = engine.create_memory(MemoryType(1, 1))
        self._instance = engine.instantiate(program, self._memory)
        self._run: WasmFunction = self._instance.function("run")
        self._name = f"{engine.info.name}: {group.name}: {case.words}"
        self.rounds = 1

    def check(self) -> None:
        """Compares states, memory and result with numpy's."""
        for rounds in _CHECKED_ROUNDS:
            view = np.frombuffer(self._memory.view(), np.uint8)
            initial = initial_memory(self.group)
            view[: len(initial)] = initial
            memory, total = expected(self.group, self.case, rounds)
            result = self._run(rounds)
            wrong = np.flatnonzero(view[: len(memory)] != memory)
            if result != total or len(wrong):
                raise WrongResultError(
                    f"{self._name}: returned {result}, expected {total}; "
                    f"{len(wrong)} bytes differ from numpy's, the first at {wrong[:1]}"
                )

    def seconds(self) -> float:
        """CPU time of a call: other processes on the machine do not count.

        Of the whole process, since an engine may run the call on a thread of its own.
        """
        start = time.process_time()
        self._run(self.rounds)
        return time.process_time() - start

    def warm_up(self, call_s: float) -> None:
        """Calls until the time of a call has stopped falling, with calls of about ``call_s``."""
        limit = time.perf_counter() + _WARM_UP_LIMIT_S
        best = float("inf")
        steady = 0
        while steady < _STEADY_CALLS and time.perf_counter() < limit:
            taken = self.seconds()
            scale = call_s / max(taken, 1e-7)
            if scale > 1.5 or scale < 0.67:
                self.rounds = max(1, min(2**30, int(self.rounds * min(scale, 50))))
                best, steady = float("inf"), 0
                continue
            per_round = taken / self.rounds
            steady = steady + 1 if per_round > 0.97 * best else 0
            best = min(best, per_round)

    def nanoseconds(self, lanes: int) -> float:
        """Of one call, per ``lanes`` units of work."""
        steps = self.rounds * STEPS_PER_ROUND * self.case.lanes
        return self.seconds() * 1e9 / steps * lanes

    def close(self) -> None:
        self._instance.close()
        self._memory.close()


def validates(engine: Engine, case: Case) -> bool:
    """Whether the engine accepts the case's module."""
    try:
        engine.compile(assemble(case)).close()
    except WasmCompileError:
        return False
    return True


def check(engine: Engine, group: Group, case: Case) -> None:
    """Compares what a valid case computes with numpy.

    Raises:
        WrongResultError: It is something else.
    """
    runner = _Runner(engine, group, case)
    runner.check()
    runner.close()


def measure(engine: Engine, group: Group, *, call_s: float, repeats: int) -> Result:
    """Least time per step over ``repeats`` calls of a case and its plain equivalent in turns.

    Raises:
        WrongResultError: The engine computed something else than numpy, before or after.
    """
    if not (validates(engine, group.case) and validates(engine, group.plain)):
        return Result(valid=validates(engine, group.case))
    runners = [_Runner(engine, group, case) for case in (group.case, group.plain)]
    for runner in runners:
        runner.check()
        runner.warm_up(call_s)
    times: list[list[float]] = [[], []]
    for _ in range(repeats):
        for runner, samples in zip(runners, times, strict=True):
            samples.append(runner.nanoseconds(group.case.lanes))
    for runner in runners:
        runner.check()
        runner.close()
    return Result(True, min(times[0]), min(times[1]))
