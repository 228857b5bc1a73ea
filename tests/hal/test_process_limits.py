"""What a device takes of its process and gives back: memory, and threads."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from iree_wasm_hal.engine.contract import EngineInfo, Feature, MemoryModel, MemoryType
from iree_wasm_hal.errors import ClosedError, LimitError
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


class Storage(bytearray):
    """What a memory is made of here: to be watched."""


class PlainEngine:
    """Gives memories that views alone keep alive, as in the contract."""

    def create_memory(self, memory_type: MemoryType) -> Any:
        storage = Storage(memory_type.min_page_count * 65536)
        self.storage = weakref.ref(storage)

        class PlainMemory:
            def view(self) -> memoryview:
                return memoryview(storages[0])

            def close(self) -> None:
                storages.clear()

        storages = [storage]
        return PlainMemory()


def test_a_closed_memory_is_not_held() -> None:
    engine = PlainEngine()
    memory = GuestMemory(cast("Engine", engine), SMALL)
    array = memory.array[:8]
    memory.close()
    assert engine.storage() is not None, "the array shows it"
    del array
    assert engine.storage() is None


def test_buffers_of_a_closed_device(engine: Engine) -> None:
    device = Device(engine, max_memory_bytes=64 << 20)
    buffer = device.allocator.import_buffer(b"12345678")
    array = buffer.ndarray((8,), np.dtype("uint8"))
    device.close()
    assert bytes(array) == b"12345678"
    for use in (
        buffer.view,
        buffer.read,
        partial(buffer.write, 0, b"1"),
        partial(buffer.load, 0, 4),
        partial(buffer.store, 1, 0, 4),
        partial(buffer.ndarray, (8,), np.dtype("uint8")),
    ):
        with pytest.raises(ClosedError, match="after its device was closed"):
            use()


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
        Watchdog(info, 1.0).begin()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a POSIX matter")
def test_time_outs_hold_in_forked_children() -> None:
    program = """
import os, threading
from iree_wasm_hal.engine.contract import EngineInfo, Feature, MemoryModel
from iree_wasm_hal.hal.watchdog import Watchdog

info = EngineInfo("some", "1", "", MemoryModel.IMPORTS, frozenset({Feature.INTERRUPT}))
watchdogs = [Watchdog(info, 0.05) for _ in range(2)]
for watchdog in watchdogs:
    watchdog.begin()
    watchdog.end()
if child := os.fork():
    print(os.waitpid(child, 0)[1])
else:
    cancelled = threading.Event()
    watchdogs[0].attach(cancelled.set)
    watchdogs[0].begin()
    print(cancelled.wait(20), flush=True)
    watchdogs[0].end()
    for watchdog in watchdogs:
        watchdog.close()
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout.split(), done.stderr) == (["True", "0"], "")
