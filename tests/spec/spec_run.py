"""Runs the converted scripts on an engine, in a child process that may die."""

from __future__ import annotations

import json
import os
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

# A script can take wamr-aot ten seconds to compile, and a busy machine a multiple of that.
_ANSWER_TIMEOUT_S = 180.0
_WORKER = Path(__file__).with_name("spec_worker.py")
# A script that kills the engine so many times is given up.
_MAX_DEATHS = 20


class _DiedError(Exception):
    """The child ended or gave no answer; the text says how."""


class _Child:
    """One engine in a process of its own."""

    def __init__(self, engine_name: str, worker: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(worker), engine_name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._input = cast("IO[bytes]", self._process.stdin)
        self._output = cast("IO[bytes]", self._process.stdout)
        self._received = b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._output, selectors.EVENT_READ)
        self.version: str = self._answer()["version"]
        self.line = 0

    def run(self, script: Script, *, skip: frozenset[int], trace: bool) -> Outcome:
        """Runs a script; ``line`` is the last command that was begun, where it traces."""
        request = {"script": script.name, "skip": sorted(skip), "trace": trace}
        try:
            self._input.write(json.dumps(request).encode() + b"\n")
            self._input.flush()
        except BrokenPipeError as error:
            raise _DiedError(self._how()) from error
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
        while b"\n" not in self._received:
            if not self._selector.select(_ANSWER_TIMEOUT_S):
                msg = f"no end within {_ANSWER_TIMEOUT_S:.0f} s"
                raise _DiedError(msg)
            received = os.read(self._output.fileno(), 1 << 16)
            if not received:
                raise _DiedError(self._how())
            self._received += received
        line, _, self._received = self._received.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _how(self) -> str:
        status = self._process.wait()
        if status < 0:
            return f"the engine's process died of {signal.Signals(-status).name}"
        return f"the engine's process ended with {status}"


def run_engine(
    engine_name: str, scripts: list[Script], worker: Path = _WORKER
) -> tuple[str, dict[str, Outcome]]:
    """Runs scripts on an engine.

    Args:
        engine_name: Its entry point.
        scripts: What to run.
        worker: The program of the child process.

    Returns:
        The engine's version, and an outcome per script name.
    """
    child = _Child(engine_name, worker)
    version, outcomes = child.version, {}
    try:
        for script in scripts:
            try:
                outcomes[script.name] = child.run(script, skip=frozenset(), trace=False)
            except _DiedError:
                child.close()
                outcomes[script.name] = _run_deadly(engine_name, script, worker)
                child = _Child(engine_name, worker)
    finally:
        child.close()
    return version, outcomes


def _run_deadly(engine_name: str, script: Script, worker: Path) -> Outcome:
    """Runs a script that kills its process: finds each command that does, and the rest."""
    deadly: dict[int, str] = {}
    for _ in range(_MAX_DEATHS):  # one that is no command's may come again and again
        child = _Child(engine_name, worker)
        try:
            outcome = child.run(script, skip=frozenset(deadly), trace=True)
        except _DiedError as death:
            deadly[child.line] = str(death)
        else:
            outcome.failures += [Failure(line, what) for line, what in deadly.items()]
            return outcome
        finally:
            child.close()
    commands = sum(module.command_count for module in script.modules) + len(script.refusals)
    return Outcome(failures=[Failure(0, f"given up after {_MAX_DEATHS} deaths", commands)])
