"""Opens an engine in a child process, which is all that it can bring down."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, BinaryIO, cast

from iree_wasm_hal.engine.info_document import info_from_document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iree_wasm_hal.engine.contract import EngineInfo

__all__ = ["Trial", "run_trials"]

_MAX_OUTPUT_BYTE_LENGTH = 1 << 20
_MAX_QUOTED_LENGTH = 200
_POLL_INTERVAL_S = 0.05
# The path comes first: nothing but built-in modules may be imported from where the child starts.
_CHILD = (
    "import sys; name, *sys.path = sys.argv[1:]; "
    "from iree_wasm_hal.engine.trial_child import main; main(name)"
)
# How the lines of faulthandler's report begin; the signal says as much.
_REPORT_LINES = ("Fatal Python error:", "Current thread", "Thread 0x", "  ", "Extension modules:")


class Trial:
    """A child process that opens one engine and describes it on standard output.

    Args:
        name: Entry-point name; exactly one installed plugin has it.

    Raises:
        OSError: No process can be started.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.output = bytearray()
        self.errors = bytearray()
        self.process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, name, *sys.path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # what it starts itself ends with it
        )

    @property
    def is_done(self) -> bool:
        """Whether the description is complete."""
        return self.output.endswith(b"\n")

    def end(self) -> bool:
        """Ends the child and what it started; whether it still owed a description."""
        was_running = self.process.poll() is None and not self.is_done
        with contextlib.suppress(ProcessLookupError):  # nobody of its session is left
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            cast("BinaryIO", pipe).close()
        return was_running

    def result(self) -> EngineInfo | str:
        """What the engine says of itself, or why it could not be opened. After ``end``."""
        if not self.is_done:
            return self._death()
        try:
            document = json.loads(self.output)
            cause: str | None = document.get("cause")
            return info_from_document(document["info"]) if cause is None else cause
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return f"engine {self.name!r} gave an unreadable description: {error}"

    def _death(self) -> str:
        status = self.process.returncode
        how = f"exit status {status}" if status >= 0 else _signal_name(-status)
        return f"engine {self.name!r} ended the process that opened it with {how}{self._quote()}"

    def _quote(self) -> str:
        """The first thing that it said on standard error, if that helps."""
        lines = self.errors.decode("utf-8", "replace").splitlines()
        said = [line.strip() for line in lines if not line.startswith(_REPORT_LINES)]
        first = next((line for line in said if line), "")
        return f" ({first[:_MAX_QUOTED_LENGTH]})" if first else ""


def run_trials(names: Sequence[str], timeout_s: float) -> dict[str, EngineInfo | str]:
    """Tries engines, all at once.

    Args:
        names: Entry-point names.
        timeout_s: Seconds after which an engine that has not opened counts as broken.

    Returns:
        For each name what ``Trial.result`` says, or that there was no time or no process for it.
    """
    results: dict[str, EngineInfo | str] = {}
    trials: list[Trial] = []
    try:
        for name in names:
            try:
                trials.append(Trial(name))
            except OSError as error:
                results[name] = f"engine {name!r} was not tried, no process starts: {error}"
        _collect(trials, time.monotonic() + timeout_s)
    finally:
        late = {trial.name for trial in trials if trial.end()}
    for trial in trials:
        if trial.name in late:
            results[trial.name] = f"engine {trial.name!r} did not open within {timeout_s:g} s"
        else:
            results[trial.name] = trial.result()
    return results


def _collect(trials: Sequence[Trial], due: float) -> None:
    """Reads what the children write until each is done or gone, or the time is up."""
    with selectors.DefaultSelector() as selector:
        for trial in trials:
            selector.register(cast("BinaryIO", trial.process.stdout), 1, (trial, trial.output))
            selector.register(cast("BinaryIO", trial.process.stderr), 1, (trial, trial.errors))
        pending = [*trials]
        while pending and (left_s := due - time.monotonic()) > 0:
            heard_of = []
            for key, _ in selector.select(min(left_s, _POLL_INTERVAL_S)):
                trial, kept = key.data
                chunk = os.read(key.fd, 1 << 16)
                if chunk:
                    heard_of.append(trial)
                else:
                    selector.unregister(key.fileobj)
                kept += chunk[: _MAX_OUTPUT_BYTE_LENGTH - len(kept)]
            # Its pipes do not end with a child that left one of its own behind.
            pending = [
                trial
                for trial in pending
                if not trial.is_done and (trial in heard_of or trial.process.poll() is None)
            ]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
