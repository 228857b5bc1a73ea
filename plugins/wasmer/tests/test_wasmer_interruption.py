"""Ending a call by a signal: the right one, always, and no harm from the signal itself."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from wasmtime import wat2wasm

from iree_wasm_hal.engine import Instance, Memory, MemoryType, open_engine
from iree_wasm_hal.engine.conformance.background import run_in_thread, wait_for_byte
from iree_wasm_hal.engine.conformance.suite import load_module
from iree_wasm_hal.errors import InterruptedCallError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iree_wasm_hal.engine import Engine

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="interruption needs Linux")

SMALL = MemoryType(1, 16)


@pytest.fixture(params=["cranelift", "singlepass"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    engine = open_engine("wasmer", compiler=request.param)
    yield engine
    engine.close()


def _loops(engine: Engine) -> tuple[Memory, Instance]:
    memory = engine.create_memory(SMALL)
    return memory, engine.instantiate(engine.compile(load_module("loops")), memory)


def test_interrupt_during_library_calls(engine: Engine) -> None:
    """The signal meets the thread outside of compiled code, where it must not stop it."""
    wasm = wat2wasm(
        """(module (import "env" "memory" (memory 1 16))
          (func (export "f") (i32.store8 (i32.const 0) (i32.const 1))
            (loop $again
              (memory.fill (i32.const 16) (i32.const 2) (i32.const 1000000))
              (br $again))))"""
    )
    memory = engine.create_memory(MemoryType(16, 16))
    instance = engine.instantiate(engine.compile(bytes(wasm)), memory)
    for _ in range(20):
        memory.view()[0] = 0
        running = run_in_thread(instance.function("f"))
        wait_for_byte(memory.view(), 0, running)
        instance.interrupt()
        with pytest.raises(InterruptedCallError):
            running.result()


def test_interrupt_during_a_wait(engine: Engine) -> None:
    """The wait goes on to its time-out; the call ends there."""
    wasm = wat2wasm(
        """(module (import "env" "memory" (memory 1 16 shared))
          (func (export "f") (i32.store8 (i32.const 0) (i32.const 1))
            (loop $again
              (drop (memory.atomic.wait32 (i32.const 64) (i32.const 0) (i64.const 20000000)))
              (br $again))))"""
    )
    memory = engine.create_memory(MemoryType(1, 16, shared=True))
    instance = engine.instantiate(engine.compile(bytes(wasm)), memory)
    for _ in range(5):
        memory.view()[0] = 0
        running = run_in_thread(instance.function("f"))
        wait_for_byte(memory.view(), 0, running)
        instance.interrupt()
        with pytest.raises(InterruptedCallError):
            running.result()


def test_interrupt_of_a_thread_that_blocks_signals(engine: Engine) -> None:
    memory, instance = _loops(engine)

    def call() -> int | None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        return instance.function("spin_forever")(0)

    running = run_in_thread(call)
    wait_for_byte(memory.view(), 0, running)
    instance.interrupt()
    with pytest.raises(InterruptedCallError):
        running.result()


def _caught_signals() -> str:
    return (
        "def caught():\n"
        "    for line in open('/proc/self/status'):\n"
        "        if line.startswith('SigCgt'):\n"
        "            mask = int(line.split()[1], 16)\n"
        "            return {number + 1 for number in range(64) if mask >> number & 1}\n"
    )


def _run(code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONFAULTHANDLER": ""}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )


def test_engine_takes_only_free_signals() -> None:
    """Of those that others use (SIGUSR1 of JavaScriptCore, SIGPROF) it takes none."""
    done = _run(
        f"{_caught_signals()}"
        "import faulthandler; faulthandler.enable()\n"
        "before = caught()\n"
        "from iree_wasm_hal.engine import open_engine\n"
        "open_engine('wasmer')\n"
        "print(*sorted(caught() - before))\n"
    )
    taken = {int(number) for number in done.stdout.split()}
    assert not taken & {signal.SIGUSR1, signal.SIGUSR2, signal.SIGPROF, signal.SIGTERM}
    assert len({number for number in taken if number >= signal.SIGRTMIN}) == 1, done.stderr


def test_stray_signals_are_harmless() -> None:
    """Anybody may send the signal to any thread, in a call or not."""
    done = _run(
        f"{_caught_signals()}"
        "import signal, threading\n"
        "from iree_wasm_hal.engine import MemoryType, open_engine\n"
        "from iree_wasm_hal.engine.conformance.suite import load_module\n"
        "before = caught()\n"
        "engine = open_engine('wasmer')\n"
        "(number,) = [n for n in caught() - before if n >= signal.SIGRTMIN]\n"
        "instance = engine.instantiate(\n"
        "    engine.compile(load_module('loops')), engine.create_memory(MemoryType(1, 16)))\n"
        "spin = instance.function('spin')\n"
        "expected = spin(0, 1_000_000)\n"
        "main = threading.get_ident()\n"
        "stop = threading.Event()\n"
        "def send():\n"
        "    while not stop.is_set():\n"
        "        signal.pthread_kill(main, number)\n"
        "thread = threading.Thread(target=send)\n"
        "thread.start()\n"
        "print(all(spin(0, 1_000_000) == expected for _ in range(50)))\n"
        "stop.set()\n"
        "thread.join()\n"
    )
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr


def test_signal_taken_over_is_an_error() -> None:
    done = _run(
        f"{_caught_signals()}"
        "import signal\n"
        "from iree_wasm_hal.engine import MemoryType, open_engine\n"
        "from iree_wasm_hal.engine.conformance.suite import load_module\n"
        "from iree_wasm_hal.errors import EngineError\n"
        "before = caught()\n"
        "engine = open_engine('wasmer')\n"
        "(number,) = [n for n in caught() - before if n >= signal.SIGRTMIN]\n"
        "instance = engine.instantiate(\n"
        "    engine.compile(load_module('loops')), engine.create_memory(MemoryType(1, 16)))\n"
        "signal.signal(number, lambda *_: None)\n"
        "try:\n    instance.interrupt()\n"
        "except EngineError as error:\n    print(error)\n"
    )
    assert "another library took over signal" in done.stdout, done.stderr


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads in /proc")
def test_helper_threads_end(engine: Engine) -> None:
    memory, instance = _loops(engine)
    for _ in range(20):
        memory.view()[0] = 0
        running = run_in_thread(partial(instance.function("spin_forever"), 0))
        wait_for_byte(memory.view(), 0, running)
        for _ in range(10):
            instance.interrupt()
        with pytest.raises(InterruptedCallError):
            running.result()
    # One per interrupted call, and it ends with the call; not one per request.
    assert _helper_count() <= 20
    deadline = time.monotonic() + 30
    while _helper_count():
        assert time.monotonic() < deadline, "helpers go on after their calls"
        threading.Event().wait(0.01)


def _helper_count() -> int:
    names = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # it may end meanwhile
            names.append((task / "comm").read_text())
    return sum(name.startswith("iree-wasm-hal-w") for name in names)
