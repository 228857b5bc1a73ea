"""Drives worker processes: one that dies or hangs is an answer as well."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from fuzz_run import Difference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fuzz_kernel import Kernel
    from fuzz_run import Mode

__all__ = ["Worker"]

_WORKER = Path(__file__).with_name("fuzz_worker.py")


class _DiedError(Exception):
    """The child ended or gave no answer in time: kind and detail."""


class Worker:
    """Runs kernels in a child process that is started anew when it has died.

    Args:
        timeout_s: How long one mode may take for all kernels of a request.
        program: The child's program.
    """

    def __init__(self, timeout_s: float, program: Path = _WORKER) -> None:
        self._timeout_s = timeout_s
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._received = b""
        self._mode = ""

    def run_seeds(self, seeds: Sequence[int], modes: Sequence[Mode]) -> list[Difference]:
        """The differences of the kernels of some seeds."""
        try:
            return self._ask({"seeds": list(seeds)}, modes)
        except _DiedError as death:
            found = []
            if len(seeds) == 1:
                return [self._death(death)]
            for index, seed in enumerate(seeds):
                for one in self.run_seeds([seed], modes):
                    one.index = index
                    found.append(one)
            # It died of all of them together only: the first stands for them.
            return found or [self._death(death)]

    def run(self, kernel: Kernel, modes: Sequence[Mode]) -> list[Difference]:
        """The differences of one kernel."""
        try:
            return self._ask({"kernels": [kernel.to_json()]}, modes)
        except _DiedError as death:
            return [self._death(death)]

    def close(self) -> None:
        """Ends the child."""
        process, self._process = self._process, None
        self._received = b""
        if process is not None:
            process.kill()
            process.wait()
            cast("IO[bytes]", process.stdin).close()
            cast("IO[bytes]", process.stdout).close()

    def _death(self, death: _DiedError) -> Difference:
        kind, detail = death.args
        return Difference(0, self._mode, kind, detail)

    def _ask(self, request: dict[str, Any], modes: Sequence[Mode]) -> list[Difference]:
        process = self._started()
        request["modes"] = [mode.to_json() for mode in modes]
        try:
            cast("IO[bytes]", process.stdin).write(json.dumps(request).encode() + b"\n")
            cast("IO[bytes]", process.stdin).flush()
            while "differences" not in (answer := self._answer(process)):
                self._mode = answer["mode"]
        except BrokenPipeError as error:
            raise self._died(process) from error
        except _DiedError:
            self.close()
            raise
        return [Difference(**one) for one in answer["differences"]]

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, str(self._program)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        return self._process

    def _answer(self, process: subprocess.Popen[bytes]) -> dict[str, Any]:
        output = cast("IO[bytes]", process.stdout)
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while b"\n" not in self._received:
                if not selector.select(self._timeout_s):
                    raise _DiedError("hang", f"no end within {self._timeout_s:.0f} s")
                received = os.read(output.fileno(), 1 << 16)
                if not received:
                    raise self._died(process)
                self._received += received
        line, _, self._received = self._received.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _died(self, process: subprocess.Popen[bytes]) -> _DiedError:
        status = process.wait()
        self.close()
        if status < 0:
            return _DiedError("crash", f"died of {signal.Signals(-status).name}")
        return _DiedError("crash", f"ended with {status}")
