"""Ends one running call by wasmtime's epochs, without touching any other.

The epoch counter belongs to the whole engine. Every store has a deadline one tick ahead and a
callback for when it is met: the callback looks at the store's running call, ends it if it was
cancelled, and otherwise goes on with a deadline one tick ahead.

One window must be closed: a tick that falls between the callback's look and wasmtime's computing
of the next deadline is lost. So ``Ticker`` ticks again until each cancelled call has ended.
"""

from __future__ import annotations

import _thread
import threading
from typing import TYPE_CHECKING, Any

from iree_wasm_hal_wasmtime.c_api import DEADLINE_CONTINUE, ffi
from iree_wasm_hal_wasmtime.memory_creator import postpone

if TYPE_CHECKING:
    from types import TracebackType

    from iree_wasm_hal_wasmtime.library import Library

_FIRST_DELAY_S = 0.001
_LONGEST_DELAY_S = 0.05


class Call:
    """One call into wasm.

    Attributes:
        owner: Identity of the instance that runs it.
        cancelled: Set by ``interrupt``.
        stopped: Set by the callback when it ends the call.
    """

    __slots__ = ("cancelled", "owner", "stopped")

    def __init__(self, owner: object) -> None:
        self.owner = owner
        self.cancelled = False
        self.stopped = False


class RunningCall:
    """The call that a store is running, or None. Written by the caller under the store's lock."""

    __slots__ = ("__weakref__", "call", "lib")

    def __init__(self, lib: Any) -> None:
        self.lib = lib
        self.call: Call | None = None


def _on_deadline(_context: Any, data: Any, deadline_delta: Any, kind: Any) -> Any:
    running: RunningCall = ffi.from_handle(data)
    call = running.call
    if call is not None and call.cancelled:
        call.stopped = True
        return running.lib.wasmtime_error_new(b"interrupted")
    deadline_delta[0] = 1
    kind[0] = DEADLINE_CONTINUE
    return ffi.NULL


def _on_exception(
    _kind: type[BaseException], error: BaseException, traceback: TracebackType
) -> Any:
    """Ends the call for a signal handler that raised in the callback, such as Ctrl-C's.

    cffi would print the exception and go on. The call raises it.
    """
    postpone(error)
    running: RunningCall = ffi.from_handle(traceback.tb_frame.f_locals["data"])
    return running.lib.wasmtime_error_new(b"interrupted")


on_deadline: Any = ffi.callback("epoch_callback_t", _on_deadline, onerror=_on_exception)
"""The callback of all stores; its data is an ``ffi.new_handle`` of a ``RunningCall``."""


class Ticker:
    """Advances an engine's epoch until the calls given to ``cancel`` have ended. Thread-safe.

    Its thread exists only while a cancelled call has not ended yet.
    """

    def __init__(self, library: Library, engine_pointer: Any) -> None:
        self._lib = library.lib
        self._engine_pointer = engine_pointer
        self._lock = threading.RLock()  # a signal handler may cancel within a cancel
        self._pending: list[tuple[RunningCall, Call]] = []
        self._is_ticking = False

    def cancel(self, running: RunningCall, call: Call) -> None:
        """Ends ``call`` if ``running`` is still running it."""
        call.cancelled = True
        self._lib.wasmtime_engine_increment_epoch(self._engine_pointer)
        with self._lock:
            self._pending.append((running, call))
            if not self._is_ticking:
                # Not threading.Thread, which waits until it runs: on a busy machine, that is long
                # after the call, whose thread would wait for this one.
                _thread.start_new_thread(self._run, ())
                self._is_ticking = True

    def _run(self) -> None:
        delay_s = _FIRST_DELAY_S
        pause = threading.Event()
        while self._any_pending():
            pause.wait(delay_s)
            self._lib.wasmtime_engine_increment_epoch(self._engine_pointer)
            delay_s = min(2 * delay_s, _LONGEST_DELAY_S)

    def _any_pending(self) -> bool:
        with self._lock:
            self._pending = [
                (running, call)
                for running, call in self._pending
                if running.call is call and not call.stopped
            ]
            if not self._pending:
                self._is_ticking = False
            return bool(self._pending)
