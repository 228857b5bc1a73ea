"""A forked child, as multiprocessing makes them: it computes, or it says why it does not.

It has none of the threads that engines compile, collect or run with.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a POSIX matter")

_PROGRAM = """
import os, signal, sys
from iree_wasm_hal.engine import MemoryType, open_engine
from iree_wasm_hal.engine.conformance.suite import load_module

def add(engine):
    program = engine.compile(load_module("integers"))
    instance = engine.instantiate(program, engine.create_memory(MemoryType(1, 2)))
    return instance.function("i32_add")(40, 2)

engine = open_engine(sys.argv[1])
print(add(engine), flush=True)
if child := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
signal.alarm(90)
for open_one in (lambda: engine, lambda: open_engine(sys.argv[1])):
    try:
        print(add(open_one()))
    except Exception as error:  # ClosedError or one of EngineError's kinds
        print("forked" if "forked" in str(error) else repr(error))
"""
_WITHOUT_FORKS = {"jsc", "v8"}


def test_forked_child_computes_or_refuses(engine_name: str) -> None:
    command = [sys.executable, "-c", _PROGRAM, engine_name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode != -signal.SIGALRM, "the child hangs"
    answer = "forked" if engine_name in _WITHOUT_FORKS else "42"
    assert (done.stdout.split(), done.stderr) == (["42", answer, answer], "")
