"""Ending a call by a signal: the right one, always, and no harm from the signal itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest
from wasmtime import wat2wasm

from iree_wasm_hal.engine import Instance, Memory, MemoryType, open_engine
from iree_wasm_hal.engine.conformance.background import run_in_thread, wait_for_byte
from iree_wasm_hal.engine.conformance.suite import load_module
from iree_wasm_hal.errors import InterruptedCallError, TrapError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from iree_wasm_hal.engine import Engine

SMALL = MemoryType(1, 16)


@pytest.fixture(params=["guard", "explicit"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    engine = open_engine("wamr-aot", bounds_checks=request.param)
    yield engine
    engine.close()


def _loops(engine: Engine) -> tuple[Memory, Instance]:
    memory = engine.create_memory(SMALL)
    return memory, engine.instantiate(engine.compile(load_module("loops")), memory)


def test_a_thousand_endless_calls(engine: Engine) -> None:
    """Each is interrupted once, and the call that follows it at once is not."""
    memory, instance = _loops(engine)
    spin_forever, spin, view = (
        instance.function("spin_forever"),
        instance.function("spin"),
        memory.view(),
    )
    expected = spin(8, 100)
    may_start, ended = threading.Semaphore(0), threading.Semaphore(0)

    def call_many() -> int:
        interrupted = 0
        for _ in range(1000):
            may_start.acquire()
            try:
                spin_forever(0)
            except InterruptedCallError:
                interrupted += 1
            assert spin(8, 100) == expected
            ended.release()
        return interrupted

    running = run_in_thread(call_many)
    for _ in range(1000):
        view[0] = 0
        may_start.release()
        wait_for_byte(view, 0, running)
        instance.interrupt()
        assert ended.acquire(timeout=60)
    assert running.result() == 1000


def test_hammered_from_another_thread(engine: Engine) -> None:
    """Each call either is right or was interrupted, and calls of others are all right."""
    (_, target), (_, bystander) = _loops(engine), _loops(engine)
    spin, other = target.function("spin"), bystander.function("spin")
    expected = spin(0, 300)
    stop = threading.Event()

    def interrupt() -> None:
        while not stop.is_set():
            target.interrupt()

    def compute() -> int:
        return sum(other(0, 300) == expected for _ in range(3000))

    interrupting, computing = run_in_thread(interrupt), run_in_thread(compute)
    interrupted = 0
    for _ in range(3000):
        try:
            assert spin(0, 300) == expected
        except InterruptedCallError:
            interrupted += 1
    stop.set()
    interrupting.result()
    assert computing.result() == 3000
    assert interrupted < 3000
    assert spin(0, 300) == expected


def test_hammered_while_trapping(engine: Engine) -> None:
    """A signal that meets a trap on its way ends neither the process nor the wrong call."""
    memory = engine.create_memory(SMALL)
    instance = engine.instantiate(engine.compile(load_module("traps")), memory)
    functions: list[Callable[[], object]] = [
        partial(instance.function("load32"), 65536),
        partial(instance.function("divide"), 1, 0),
        instance.function("unreachable"),
        partial(instance.function("recurse"), 0),
    ]
    stop = threading.Event()

    def interrupt() -> None:
        while not stop.is_set():
            instance.interrupt()

    interrupting = run_in_thread(interrupt)
    ends = {TrapError: 0, InterruptedCallError: 0}
    for index in range(2000):
        with pytest.raises((TrapError, InterruptedCallError)) as caught:
            functions[index % len(functions)]()
        ends[caught.type] += 1
    stop.set()
    interrupting.result()
    assert ends[TrapError]
    assert instance.function("call_indirect")(0) == 42


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


def test_interrupt_ends_a_wait(engine: Engine) -> None:
    """Though nobody notifies, and the wait has no end of its own."""
    wasm = wat2wasm(
        """(module (import "env" "memory" (memory 1 16 shared))
          (func (export "f") (i32.store8 (i32.const 0) (i32.const 1))
            (drop (memory.atomic.wait32 (i32.const 64) (i32.const 0) (i64.const -1)))))"""
    )
    memory = engine.create_memory(MemoryType(1, 16, shared=True))
    instance = engine.instantiate(engine.compile(bytes(wasm)), memory)
    for _ in range(50):
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
        "open_engine('wamr-aot')\n"
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
        "engine = open_engine('wamr-aot')\n"
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
        "engine = open_engine('wamr-aot')\n"
        "(number,) = [n for n in caught() - before if n >= signal.SIGRTMIN]\n"
        "instance = engine.instantiate(\n"
        "    engine.compile(load_module('loops')), engine.create_memory(MemoryType(1, 16)))\n"
        "signal.signal(number, lambda *_: None)\n"
        "try:\n    instance.interrupt()\n"
        "except EngineError as error:\n    print(error)\n"
    )
    assert "another library took over its real-time signal" in done.stdout, done.stderr
