"""Runs the converted scripts on an engine, in a child process that may die."""

from __future__ import annotations

import json
import selectors
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from spec_execution import Failure, Outcome

if TYPE_CHECKING:
    from spec_scripts import Script

__all__ = ["run_engine"]

_ANSWER_TIMEOUT_S = 120.0
# A script in which more commands than this kill the engine is given up.
_MAX_DEATHS = 20


class _Died(Exception):
    """The child ended or gave no answer; the text says how."""


class _Child:
    """One engine in a process of its own."""

    def __init__(self, engine_name: str) -> None:
        worker = Path(__file__).with_name("spec_worker.py")
        self._process = subprocess.Popen(
            [sys.executable, str(worker), engine_name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._input = cast("IO[str]", self._process.stdin)
        self._output = cast("IO[str]", self._process.stdout)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._output, selectors.EVENT_READ)
        self.version: str = self._answer()["version"]
        self.line = 0

    def run(self, script: Script, *, skip: frozenset[int], trace: bool) -> Outcome:
        """Runs a script; ``line`` is the last command that was begun, where it traces."""
        request = {"script": script.name, "skip": sorted(skip), "trace": trace}
        try:
            self._input.write(json.dumps(request) + "\n")
            self._input.flush()
        except BrokenPipeError as error:
            raise _Died(self._how()) from error
        while "line" in (answer := self._answer()):
            self.line = answer["line"]
        return Outcome.from_json(answer["outcome"])

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()
        self._selector.close()
        self._input.close()
        self._output.close()

    def _answer(self) -> dict[str, Any]:
        # The child answers in whole lines, one at a time, so that the buffer is empty here.
        if not self._selector.select(_ANSWER_TIMEOUT_S):
            msg = f"no end within {_ANSWER_TIMEOUT_S:.0f} s"
            raise _Died(msg)
        line = self._output.readline()
        if not line:
            raise _Died(self._how())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _how(self) -> str:
        status = self._process.wait()
        if status < 0:
            return f"the engine's process died of {signal.Signals(-status).name}"
        return f"the engine's process ended with {status}"


def run_engine(engine_name: str, scripts: list[Script]) -> tuple[str, dict[str, Outcome]]:
    """Runs scripts on an engine.

    Returns:
        The engine's version, and an outcome per script name.
    """
    child = _Child(engine_name)
    version, outcomes = child.version, {}
    try:
        for script in scripts:
            try:
                outcomes[script.name] = child.run(script, skip=frozenset(), trace=False)
            except _Died:
                child.close()
                outcomes[script.name] = _run_deadly(engine_name, script)
                child = _Child(engine_name)
    finally:
        child.close()
    return version, outcomes


def _run_deadly(engine_name: str, script: Script) -> Outcome:
    """Runs a script that kills its process: finds each command that does, and the rest."""
    deadly: dict[int, str] = {}
    while len(deadly) < _MAX_DEATHS:
        child = _Child(engine_name)
        try:
            outcome = child.run(script, skip=frozenset(deadly), trace=True)
        except _Died as death:
            deadly[child.line] = str(death)
        else:
            outcome.failures += [Failure(line, what) for line, what in deadly.items()]
            return outcome
        finally:
            child.close()
    commands = sum(module.command_count for module in script.modules) + len(script.refusals)
    return Outcome(failures=[Failure(0, f"given up after {_MAX_DEATHS} deaths", commands)])
