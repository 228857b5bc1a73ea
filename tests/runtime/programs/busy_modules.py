"""Programs that keep an engine or the host busy until they are ended."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from mlir_functions import SPIN, SPIN_ON_HOST

import iree_wasm_hal as iwh

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from iree_wasm_hal.engine import Engine

_ADD = """
  func.func @add(%a: tensor<4xf32>) -> tensor<4xf32> {
    %0 = arith.addf %a, %a : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
"""
BUSY = _ADD + SPIN + SPIN_ON_HOST
SCALAR = "--iree-llvmcpu-target-cpu-features="
ENDLESS = np.zeros(4, np.int32)
F4 = np.arange(4, dtype=np.float32)


class Background:
    """A call in a thread of its own."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.outcome: object = None
        self._call = call
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.outcome = self._call()
        except BaseException as error:  # looked at by the test
            self.outcome = error

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def join(self) -> object:
        """Waits for the result, or the error that was raised."""
        self._thread.join(60)
        assert not self._thread.is_alive(), "the call does not end"
        return self.outcome


class Bench:
    """Modules of `BUSY` on one engine."""

    def __init__(self, engine: Engine, archive: Path) -> None:
        self.engine = engine
        self.archive = archive
        self._cleanup = contextlib.ExitStack()

    def device(self, **options: Any) -> iwh.Device:
        return self._cleanup.enter_context(contextlib.closing(iwh.Device(self.engine, **options)))

    def load(self, **options: Any) -> iwh.Module:
        options.setdefault("engine", self.engine)
        return self._cleanup.enter_context(iwh.load(self.archive, isolation=None, **options))

    def start_endless(self, module: iwh.Module, **options: Any) -> Background:
        """A call that runs in the engine when this returns."""
        before = module.statistics.submissions
        running = Background(lambda: module.spin(ENDLESS, **options))
        while module.statistics.submissions == before:
            assert running.is_running, running.outcome
            threading.Event().wait(0.001)
        return running

    def close(self) -> None:
        self._cleanup.close()
        self.engine.close()
