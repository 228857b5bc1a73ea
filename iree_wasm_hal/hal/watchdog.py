"""Ends engine calls that run longer than a deadline."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING

from iree_wasm_hal.engine.contract import Feature
from iree_wasm_hal.errors import EngineError, InterruptedCallError
from iree_wasm_hal.hal.compatibility import able_engines
from iree_wasm_hal.hal.threads import start_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from iree_wasm_hal.engine.contract import EngineInfo

__all__ = ["Watchdog"]

_REPEAT_S = 0.02
_LONGEST_S = 1e6
"""A wait of more overflows the system's time types."""


class Watchdog:
    """One thread that cancels what it watches when the time is up.

    Args:
        engine: Must be able to interrupt.
        deadline_s: Seconds that a call may take.

    Raises:
        EngineError: The engine cannot interrupt a running kernel.
        LimitError: There is no thread for it.
    """

    def __init__(self, engine: EngineInfo, deadline_s: float) -> None:
        if Feature.INTERRUPT not in engine.features:
            reason = engine.notes.get(Feature.INTERRUPT, "it offers no way to")
            raise EngineError(
                f"deadline_s is {deadline_s}, but {engine.name} {engine.version} cannot end a "
                f"running kernel ({reason}). Leave deadline_s unset, or use an engine that can: "
                f"{able_engines([Feature.INTERRUPT])}"
            )
        self.deadline_s = deadline_s
        self._closed = False
        self._start()

    def _start(self) -> None:
        self._condition = threading.Condition()
        self._watched: Callable[[], None] | None = None
        self._due = 0.0
        self._expired = False
        self._process_id = os.getpid()
        self._thread = threading.Thread(target=self._run, name="iree-wasm-watchdog", daemon=True)
        start_threads([self._thread])

    @contextlib.contextmanager
    def watch(self, cancel: Callable[[], None]) -> Iterator[None]:
        """Watches a call, which ``cancel`` ends from another thread.

        Raises:
            InterruptedCallError: The call was ended because its time was up.
        """
        if os.getpid() != self._process_id:  # a forked child has no thread but the one that forked
            self._start()
        with self._condition:
            self._watched = cancel
            self._due = time.monotonic() + min(self.deadline_s, _LONGEST_S)
            self._expired = False
            self._condition.notify()
        try:
            yield
        except InterruptedCallError as error:
            if not self._expired:
                raise
            raise InterruptedCallError(
                f"the call took longer than its deadline of {self.deadline_s} s"
            ) from error
        finally:
            with self._condition:
                self._watched = None

    def stop(self) -> None:
        """Lets the thread end. Idempotent."""
        if os.getpid() != self._process_id:
            return
        with self._condition:
            self._closed = True
            self._condition.notify()

    def close(self) -> None:
        """Ends the thread and waits for it. Idempotent."""
        self.stop()
        self._thread.join()

    def _run(self) -> None:
        with self._condition:
            while not self._closed:
                if self._watched is None:
                    self._condition.wait()
                    continue
                left = self._due - time.monotonic()
                if left > 0:
                    self._condition.wait(left)
                    continue
                # Under the lock, so that it cannot hit a later call. Again and again until the
                # call is over: a worker may have been between two instances.
                self._expired = True
                self._watched()
                self._due = time.monotonic() + _REPEAT_S
