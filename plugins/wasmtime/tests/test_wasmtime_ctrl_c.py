"""Ctrl-C while wasm runs: Python's handlers run in the callbacks that wasmtime calls, too."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest
from wasmtime import wat2wasm

from iree_wasm_hal.engine import MemoryType, open_engine

if TYPE_CHECKING:
    from typing import Any

SPIN = """
  (module (import "env" "memory" (memory 1 1))
    (func (export "spin") (loop br 0))
    (func (export "count") (result i32) i32.const 7))
"""


def test_ctrl_c_in_the_callback_of_an_interruption_is_not_lost(
    capfd: pytest.CaptureFixture[str],
) -> None:
    engine = open_engine("wasmtime")
    memory_type = MemoryType(min_page_count=1, max_page_count=1, shared=False)
    program, memory = engine.compile(bytes(wat2wasm(SPIN))), engine.create_memory(memory_type)
    instance: Any = engine.instantiate(program, memory)

    def interrupt() -> None:
        while instance.store.running.call is None:
            pass
        os.kill(os.getpid(), signal.SIGINT)  # seen when Python code runs next on the main thread
        instance.interrupt()

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        instance.function("spin")()
    thread.join()
    assert instance.function("count")() == 7
    assert "cffi" not in capfd.readouterr().err
    engine.close()
