"""Threads in which calls run that an event loop waits for."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import queue
import threading
import weakref
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from iree_wasm_hal.errors import ClosedError, EngineError
from iree_wasm_hal.hal.threads import start_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from iree_wasm_hal.hal.call import Call

__all__ = ["Background"]

_T = TypeVar("_T")
_STACK_BYTE_LENGTH = 8 << 20
"""Engines need 2 MiB or more, and some platforms give 128 KiB."""


class Background:
    """Threads of a module, which start when they are needed.

    Not the event loop's own executor: calls that wait for their turn would fill it.

    Args:
        max_threads: As many as calls run at once: one, but of a pool of modules.
    """

    __slots__ = (
        "__weakref__",
        "_is_closed",
        "_jobs",
        "_lock",
        "_max_threads",
        "_process_id",
        "_threads",
    )

    def __init__(self, max_threads: int = 1) -> None:
        self._is_closed = False
        self._max_threads = max_threads
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.RLock()  # a signal handler may close what it interrupts
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._process_id = os.getpid()

    async def run(self, call: Call, function: Callable[[], _T]) -> _T:
        """Runs a function, which is the call, and awaits its result.

        Cancelling the task that awaits it cancels the call.

        Raises:
            CallTimeoutError: The call's time was up before its turn came.
            LimitError: There is no thread to run it.
            ClosedError: The module is closed.
        """
        job: Future[_T] = self._submit(function)
        result = asyncio.wrap_future(job)
        try:
            if call.due != math.inf:
                await asyncio.wait([result], timeout=call.left)
                if job.cancel():  # its turn has not come
                    call.check()
            return await result
        except asyncio.CancelledError:
            job.cancel()
            result.cancel()  # nobody is interested in how it ends
            with contextlib.suppress(EngineError):  # the task's end matters more
                call.cancel()
            raise

    def close(self) -> None:
        """Lets the threads end when their jobs are done. Idempotent."""
        with self._lock:
            self._is_closed = True
            for _ in self._threads:
                self._jobs.put(None)

    def join(self) -> None:
        """Waits, after ``close``, until the threads have ended; hold no lock that jobs wait for."""
        if os.getpid() != self._process_id:
            return
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()

    def _submit(self, function: Callable[[], _T]) -> Future[_T]:
        if os.getpid() != self._process_id:  # a forked child has no thread but the one that forked
            self._reset()
        future: Future[_T] = Future()
        with self._lock:
            if self._is_closed:
                raise ClosedError("call of a function after its module was closed")
            if len(self._threads) < self._max_threads:
                self._threads.append(self._start())
            self._jobs.put(lambda: _perform(function, future))
        if self._is_closed:  # meanwhile: the threads' ends may come before the job
            self.close()  # a new thread's as well
            if future.cancel():
                raise ClosedError("call of a function after its module was closed")
        return future

    def _start(self) -> threading.Thread:
        thread = threading.Thread(
            target=_serve, args=(self._jobs,), name="iree-wasm-calls", daemon=True
        )
        start_threads([thread], stack_byte_length=_STACK_BYTE_LENGTH)
        # The thread knows the queue alone, so that it ends with whoever gave it jobs.
        weakref.finalize(self, self._jobs.put, None).atexit = False
        return thread


def _serve(jobs: queue.SimpleQueue[Callable[[], None] | None]) -> None:
    while True:
        job = jobs.get()
        if job is None:
            return
        job()
        del job  # or it would live until the next one


def _perform(function: Callable[[], _T], future: Future[_T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except BaseException as error:  # whoever awaits it gets it
        future.set_exception(error)
    else:
        future.set_result(result)
