"""A memory that cannot grow: the call that asked for it fails, and nothing else does."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hammer_programs import check, programs

import iree_wasm_hal as iwh
from iree_wasm_hal.engine import Feature

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iree_wasm_hal.engine import Engine

CHILD = Path(__file__).with_name("grow_without_memory.py")
NUMBERS = 0
# It takes the whole memory at once, as address space that the kernel gives pages to on demand.
NEVER_ASKS_AGAIN = ("wasm3",)


@pytest.fixture
def engine(engine_name: str) -> Iterator[Engine]:
    opened = iwh.open_engine(engine_name)
    yield opened
    opened.close()


def test_others_compute_while_growth_fails(engine: Engine) -> None:
    threads = 2 if Feature.THREADS in engine.info.features else 1
    program = programs()[NUMBERS]
    device = iwh.Device(engine, threads=threads, max_memory_bytes=24 << 20)
    modules = [iwh.load(program.archive, device=device) for _ in range(2)]
    failures: list[BaseException] = []
    done = threading.Event()
    rounds = [0, 0]

    def compute(number: int) -> None:
        try:
            while not done.is_set() or not rounds[number]:
                for case in program.cases:
                    check(case, modules[number][case.function](*case.arguments))
                rounds[number] += 1
        except BaseException as error:  # for the thread of the test to raise
            failures.append(error)

    workers = [threading.Thread(target=compute, args=(number,)) for number in range(2)]
    for worker in workers:
        worker.start()
    for _ in range(50):
        with pytest.raises(iwh.LimitError, match="out of linear memory"):
            modules[0]["widen"](np.zeros(4_000_000, np.int32))
    done.set()
    for worker in workers:
        worker.join()
    for module in modules:
        module.close()
    device.close()
    assert not failures, failures
    assert all(rounds)


def test_a_machine_without_memory(engine_name: str) -> None:
    """The limit of the process is met before the device's own; later there is memory again."""
    command = [sys.executable, str(CHILD), engine_name, str(programs()[NUMBERS].archive)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    if engine_name not in NEVER_ASKS_AGAIN:
        assert outcome["error"] == "LimitError", outcome
        assert "out of linear memory" in outcome["message"]
    assert outcome["right_after_failure"]
    assert outcome["right_with_memory"]
