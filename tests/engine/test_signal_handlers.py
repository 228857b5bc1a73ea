"""Traps, ``faulthandler`` and foreign signal handlers in one process: right or refused."""

from __future__ import annotations

import ctypes
import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from available_engines import engine_names

from iree_wasm_hal.engine import TrapKind
from iree_wasm_hal.engine.signal_actions import (
    Action,
    library_of,
    on_alternate_stack,
    read_action,
    write_action,
)
from iree_wasm_hal.engine.signal_guard import SignalGuard

if TYPE_CHECKING:
    from collections.abc import Iterator

_STEPS = Path(__file__).with_name("signal_steps.py")
_ENGINES = engine_names()
_PAIRS = list(itertools.permutations(_ENGINES, 2))
_CAUGHT = f"{TrapKind.OUT_OF_BOUNDS_MEMORY}, {TrapKind.INTEGER_DIVIDE_BY_ZERO}"
_REPORT = "Fatal Python error: Segmentation fault"

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGBUS"), reason="a POSIX matter")


class Steps:
    """Processes that go through steps, see signal_steps.py."""

    def __init__(self, archive: Path) -> None:
        self._archive = str(archive)
        self._environment = {**os.environ, "PYTHONFAULTHANDLER": ""}
        self._server = subprocess.Popen(
            [sys.executable, str(_STEPS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self._environment,
        )

    def start(self, *steps: str) -> tuple[list[str], str, int]:
        """What each step came to, standard error, and the exit status."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps([self._archive, *steps]) + "\n")
        self._server.stdin.flush()
        output, errors, status = json.loads(self._server.stdout.readline())
        return [json.loads(line) for line in output.splitlines()], errors, status

    def go(self, *steps: str) -> list[str]:
        """The outcomes of a process that lives to its end."""
        outcomes, errors, status = self.start(*steps)
        assert status == 0, (outcomes, errors)
        assert len(outcomes) == len(steps)
        return outcomes

    def go_alone(self, *steps: str, options: tuple[str, ...] = ()) -> list[str]:
        """As ``go``, in an interpreter that was started for it."""
        done = subprocess.run(
            [sys.executable, *options, str(_STEPS), self._archive, *steps],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env=self._environment,
        )
        assert done.returncode == 0, (done.stdout, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def close(self) -> None:
        self._server.communicate()


@pytest.fixture(scope="module")
def processes(traps_archive: Path) -> Iterator[Steps]:
    """Most are forked: starting Python and importing numpy takes longer than most steps."""
    steps = Steps(traps_archive)
    yield steps
    steps.close()


def _traps(steps: list[str], outcomes: list[str]) -> list[str]:
    return [
        outcome for step, outcome in zip(steps, outcomes, strict=True) if step.startswith("trap")
    ]


@pytest.mark.parametrize(
    "order",
    [
        "open trap trap",
        "enable open trap trap",
        "open enable trap trap",
        "open trap enable trap disable trap trap",
        "enable open trap disable trap disable enable trap enable trap",
        "open disable enable trap disable enable trap disable trap",
        "open default trap default trap",
        "default open trap",
        "foreign open trap trap",
        "foreign open enable trap disable trap",
        "python open trap enable trap disable trap",
        "open trap pytest trap pytest trap",
        "enable open pytest trap",
    ],
)
def test_traps_are_caught(processes: Steps, engine_name: str, order: str) -> None:
    steps = [f"{step}:{engine_name}" for step in order.split()]
    caught = _traps(steps, processes.go(*steps))
    assert caught == [_CAUGHT] * len(caught)


def test_traps_are_caught_with_the_interpreters_own_option(
    processes: Steps, engine_name: str
) -> None:
    steps = [f"open:{engine_name}", f"trap:{engine_name}", "disable", f"trap:{engine_name}"]
    outcomes = processes.go_alone(*steps, options=("-X", "faulthandler"))
    assert _traps(steps, outcomes) == [_CAUGHT] * 2


@pytest.mark.parametrize(
    "order",
    [
        "wasmtime-py open trap enable trap disable trap",
        "wasmtime-py enable open trap disable trap enable trap",
        "enable wasmtime-py open trap disable enable trap disable trap",
        "open wasmtime-py trap enable trap disable trap",
    ],
)
def test_an_engine_that_somebody_else_uses_too(processes: Steps, order: str) -> None:
    steps = [f"{step}:wasmtime" for step in order.split()]
    caught = _traps(steps, processes.go(*steps))
    assert caught == [_CAUGHT] * len(caught)


def test_an_engine_that_somebody_else_uses_beside_others(
    processes: Steps, engine_name: str
) -> None:
    """Opening others, twice, takes no handlers that nobody told us of."""
    opens = ["enable", "wasmtime-py", f"open:{engine_name}", f"open:{engine_name}", "open:wasmtime"]
    steps = [*opens, "trap:wasmtime", f"trap:{engine_name}", "trap:wasmtime"]
    assert _traps(steps, processes.go(*steps)) == [_CAUGHT] * 3


@pytest.mark.parametrize("order", ["open python", "python open", "open trap python"])
def test_python_functions_are_still_called(processes: Steps, engine_name: str, order: str) -> None:
    steps = [f"{step}:{engine_name}" for step in f"{order} trap kill trap kill trap".split()]
    outcomes = processes.go(*steps)
    assert set(_traps(steps, outcomes)) == {_CAUGHT}
    assert outcomes.count("called 1") == 2


def test_foreign_handlers_are_refused_by_name(processes: Steps, engine_name: str) -> None:
    steps = ["open", "trap", "ask", "foreign", "trap", "open", "trap"]
    outcomes = processes.go(*(f"{step}:{engine_name}" for step in steps))
    if outcomes[2] == "no signals":
        assert outcomes[4:] == [_CAUGHT, "done", _CAUGHT]
        return
    for refusal in outcomes[4:]:
        assert f"refused: engine {engine_name!r} cannot catch traps any more: SIG" in refusal
        assert "abort of" in refusal
        assert "libc" in refusal
        assert "before the engine is opened" in refusal


@pytest.mark.parametrize(
    "order", ["open", "open enable", "enable open disable trap", "open trap disable enable trap"]
)
def test_a_real_crash_is_reported_and_ends_the_process(
    processes: Steps, engine_name: str, order: str
) -> None:
    steps = [f"{step}:{engine_name}" for step in [*order.split(), "ask"]]
    outcomes, errors, status = processes.start(*steps, "crash")
    assert len(outcomes) == len(steps)
    assert status == -signal.SIGSEGV
    if outcomes[-1] == "signals" or not order.endswith("disable trap"):
        assert errors.count(_REPORT) == 1
        assert "signal_steps.py" in errors


@pytest.mark.parametrize(("first", "second"), _PAIRS)
def test_pairs_of_engines(processes: Steps, first: str, second: str) -> None:
    a, b = f"trap:{first}", f"trap:{second}"
    steps = [f"open:{first}", a, f"open:{second}", b, a, b]
    steps += ["disable", "enable", a, b, "disable", b, a, "enable", a, b]
    outcomes = processes.go(*steps)
    assert set(_traps(steps, outcomes)) == {_CAUGHT}


@pytest.mark.parametrize("begin", [[], ["enable"], ["disable"]], ids=["off", "before", "disabled"])
@pytest.mark.parametrize("turn", [1, -1], ids=["forth", "back"])
def test_all_engines(processes: Steps, begin: list[str], turn: int) -> None:
    opens = [f"open:{engine}" for engine in _ENGINES[::turn]]
    traps = [f"trap:{engine}" for engine in _ENGINES]
    steps = [*begin, *opens, *traps, *traps[::-1], "enable", *traps, "disable", *traps]
    outcomes = processes.go(*steps)
    assert set(_traps(steps, outcomes)) == {_CAUGHT}


@pytest.mark.parametrize(("first", "second"), _PAIRS)
def test_a_crash_with_pairs_of_engines(processes: Steps, first: str, second: str) -> None:
    steps = [f"open:{first}", f"open:{second}", f"trap:{first}", f"trap:{second}"]
    outcomes, errors, status = processes.start(*steps, "crash")
    assert len(outcomes) == len(steps)
    assert status == -signal.SIGSEGV
    assert errors.count(_REPORT) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's struct sigaction")
def test_handlers_are_moved_to_the_alternate_stack() -> None:
    """What it changes is one bit; where, the system's own answer to its change tells."""
    before = read_action(signal.SIGUSR2)
    signal.signal(signal.SIGUSR2, lambda *_: None)
    try:
        action = read_action(signal.SIGUSR2)
        flags = int.from_bytes(action.raw[136:140], "little")
        without = dataclasses.replace(
            action,
            raw=action.raw[:136] + (flags & ~0x08000000).to_bytes(4, "little") + action.raw[140:],
        )
        switching = on_alternate_stack(without)
        write_action(signal.SIGUSR2, switching)
        read_back = read_action(signal.SIGUSR2)
        assert int.from_bytes(read_back.raw[136:140], "little") & 0x08000000
        assert read_back.handler == action.handler
        assert on_alternate_stack(read_back) is read_back
    finally:
        write_action(signal.SIGUSR2, before)


def test_handlers_of_unknown_origin_are_of_no_engine() -> None:
    """An engine without a library has no handlers, and unknown code is not a part of it."""
    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda _: None)
    address = ctypes.cast(handler, ctypes.c_void_p).value or 0
    assert library_of(address) == ""
    before = read_action(signal.SIGTRAP)
    try:
        write_action(
            signal.SIGTRAP, Action(address, address.to_bytes(8, sys.byteorder) + bytes(504))
        )
        guard = SignalGuard()
        with guard.opening("null"):
            pass
        write_action(signal.SIGTRAP, before)
        guard.check("null")
        assert read_action(signal.SIGTRAP).handler == before.handler
    finally:
        write_action(signal.SIGTRAP, before)
