"""What a device asks of its process: threads, address space, and a thread for its deadline."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import weakref
from typing import TYPE_CHECKING, cast

import pytest

from iree_wasm_hal.engine.contract import EngineInfo, Feature, MemoryModel, MemoryType
from iree_wasm_hal.errors import LimitError
from iree_wasm_hal.hal.device import Device
from iree_wasm_hal.hal.guest_memory import GuestMemory
from iree_wasm_hal.hal.watchdog import Watchdog

if TYPE_CHECKING:
    from iree_wasm_hal.engine.contract import Engine, Memory

SMALL = MemoryType(1, 2)


class OneMemoryEngine:
    """Gives one memory at a time."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.given: weakref.ref[Memory] | None = None

    def create_memory(self, memory_type: MemoryType) -> Memory:
        if self.given is not None and self.given() is not None:
            raise LimitError("one is enough", name="memories", asked=2, allowed=1)
        memory = self.engine.create_memory(memory_type)
        self.given = weakref.ref(memory)
        return memory


def test_memory_of_dropped_programs_is_found(engine: Engine) -> None:
    frugal = cast("Engine", OneMemoryEngine(engine))
    gc.disable()
    try:
        program: list[object] = [GuestMemory(frugal, SMALL)]
        with pytest.raises(LimitError, match="one is enough"):
            GuestMemory(frugal, SMALL)
        program.append(program)
        del program
        assert GuestMemory(frugal, SMALL).byte_length == 65536
    finally:
        gc.enable()


def test_no_thread_to_be_had(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    start, started = threading.Thread.start, list[threading.Thread]()

    def start_two(thread: threading.Thread) -> None:
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_two)
    with pytest.raises(LimitError, match="needs 3 threads, and this process may have 2 more") as e:
        Device(engine, threads=4, max_memory_bytes=64 << 20)
    assert (e.value.name, e.value.asked, e.value.allowed) == ("threads", 3, 2)
    for thread in started:
        thread.join(10)
        assert not thread.is_alive()
    info = EngineInfo("some", "1", "", MemoryModel.IMPORTS, frozenset({Feature.INTERRUPT}))
    with pytest.raises(LimitError, match="needs 1 threads"):
        Watchdog(info, 1.0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a POSIX matter")
def test_deadlines_hold_in_forked_children() -> None:
    program = """
import os, threading
from iree_wasm_hal.engine.contract import EngineInfo, Feature, MemoryModel
from iree_wasm_hal.hal.watchdog import Watchdog

info = EngineInfo("some", "1", "", MemoryModel.IMPORTS, frozenset({Feature.INTERRUPT}))
watchdogs = [Watchdog(info, 0.05) for _ in range(2)]
if child := os.fork():
    print(os.waitpid(child, 0)[1])
else:
    cancelled = threading.Event()
    with watchdogs[0].watch(cancelled.set):
        print(cancelled.wait(20), flush=True)
    for watchdog in watchdogs:
        watchdog.close()
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout.split(), done.stderr) == (["True", "0"], "")
