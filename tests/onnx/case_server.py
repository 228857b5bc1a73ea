"""Runs the node tests whose names come in on standard input, each in a forked process.

A line is ``wasm NAME`` or ``native NAME``; one line of JSON goes out for each. This process has no
thread that a fork could do harm to, and has loaded tests, compilers and runtimes before it forks:
a fork is all that a test adds.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import sys
import time
from dataclasses import asdict

from iree_backends import BACKENDS
from node_cases import CaseResult, check_outputs, load_cases

TIMEOUT_S = 120.0
"""Seconds a test may take, compilation included, before it counts as failed."""


def run_case(name: str, backend: str) -> CaseResult:
    """Runs one test in this process."""
    case = load_cases()[name]
    try:
        loaded = BACKENDS[backend].prepare(case.model)
    except BaseException as error:  # whatever a backend raises is its result
        return CaseResult(name, "refused", _describe(error))
    try:
        for index, (inputs, _) in enumerate(case.data_sets):
            check_outputs(case, index, loaded.run(inputs))
    except BaseException as error:  # as above
        return CaseResult(name, "wrong", _describe(error))
    return CaseResult(name, "passed")


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:3000]


def _run_forked(name: str, backend: str) -> CaseResult:
    reader, writer = os.pipe()
    process_id = os.fork()
    if process_id == 0:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        with os.fdopen(writer, "w") as pipe:
            json.dump(asdict(run_case(name, backend)), pipe)
        os._exit(0)  # no finalizers of a half-initialised runtime
    os.close(writer)
    text, in_time = _read_until_end(reader, time.monotonic() + TIMEOUT_S)
    if not in_time:
        os.kill(process_id, signal.SIGKILL)
    _, status = os.waitpid(process_id, 0)
    if not in_time:
        return CaseResult(name, "died", f"took longer than {TIMEOUT_S:g} s")
    if not text:
        return CaseResult(name, "died", f"the process ended with wait status {status}")
    return CaseResult(**json.loads(text))


def _read_until_end(reader: int, deadline: float) -> tuple[bytes, bool]:
    """What a pipe gives, and whether it ended before the deadline."""
    text = b""
    try:
        while select.select([reader], [], [], max(0.0, deadline - time.monotonic()))[0]:
            piece = os.read(reader, 65536)
            if not piece:
                return text, True
            text += piece
        return text, False
    finally:
        os.close(reader)


def main() -> None:
    load_cases()
    for backend in BACKENDS.values():
        for module in backend.needs:
            importlib.import_module(module)
    for line in sys.stdin:
        backend_name, name = line.split()
        print(json.dumps(asdict(_run_forked(name, backend_name))), flush=True)


if __name__ == "__main__":
    main()
