"""The thread on which a virtual machine of JavaScriptCore lives, and the way to it.

JavaScriptCore's collector stops every thread that ever entered its machine, by a signal, whatever
that thread does by then. On a thread of Python's that may be a call into another engine, on a stack
on which it cannot be stopped, or arithmetic, whose errno the signal spoils. So no thread but this
one ever enters, and it does nothing else.

It runs ``serve`` of host.js, and comes back to Python, whose GIL others may hold, only at the end.
It waits for requests at a semaphore of libc's, and meets the caller at a barrier when one is done.
The caller waits there with the GIL released. Signals do not end that wait: what they raise in
Python comes when the request is over.
"""

from __future__ import annotations

import _thread
import json
import signal
import sys
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from iree_wasm_hal.engine import thread_stacks
from iree_wasm_hal.errors import EngineUnavailableError
from iree_wasm_hal_jsc.c_api import ffi
from iree_wasm_hal_jsc.context import INT_TYPE, UNSIGNED_LONG_TYPE, Context

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iree_wasm_hal_jsc.library import Library

_STACK_BYTE_LENGTH = 8 * 1024**2
"""JavaScriptCore lets code use 5 MiB of it."""

# Of host.js.
_MAILBOX_SLOT_COUNT = 1024
_REQUEST, _OUTCOME = 2 * _MAILBOX_SLOT_COUNT, 2 * _MAILBOX_SLOT_COUNT + 2
_END = -1

_FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP}


class OwnThread:
    """A virtual machine on its thread; one caller at a time.

    Attributes:
        slots: The mailbox as ``uint64_t *``: arguments and results.
        operations: Numbers of host.js's operations.
    """

    def __init__(self) -> None:
        self.slots: Any = ffi.NULL
        self.operations: Mapping[str, int] = {}
        self._control: Any = ffi.NULL
        self._meeting = _Meeting()
        self._beginning = _Beginning()
        self._is_started = self._has_begun = False

    def start(self, library: Library) -> None:
        """Starts the thread and its machine.

        Raises:
            EngineUnavailableError: JavaScriptCore cannot be used, or there can be no more threads.
        """
        try:
            with thread_stacks(_STACK_BYTE_LENGTH):
                self._is_started = True
                _thread.start_new_thread(_live, (library, self._meeting, self._beginning))
        except RuntimeError as error:
            self._is_started = False
            msg = f"engine 'jsc' needs a thread: {error}. Raise the process's limit (ulimit -u)"
            raise EngineUnavailableError(msg) from error
        self._await_beginning()
        if self._beginning.error is not None:
            raise self._beginning.error

    def request(self, number: int) -> bool:
        """Has a function of host.js's run, and waits for it.

        Returns:
            Whether it ended well; else it threw.
        """
        self._hand_over(number)
        return not self._control[_OUTCOME]

    def end(self) -> None:
        """Ends the machine and its thread, and waits for that; nothing may follow."""
        # A thread that wants the GIL of an interpreter that ends never gets it.
        if not self._is_started or sys.is_finalizing():
            return
        if not self._has_begun:
            self._await_beginning()
        if self._beginning.error is None:
            self._hand_over(_END)

    def _hand_over(self, number: int) -> None:
        meeting = self._meeting
        self._control[_REQUEST] = number
        try:
            meeting.post(meeting.requests)
        finally:  # after what a signal's handler raised, too
            meeting.join(meeting.replies)

    def _await_beginning(self) -> None:
        try:
            self._meeting.join(self._meeting.replies)
        finally:
            self._has_begun = True
            self.operations = self._beginning.operations
            self.slots = ffi.cast("uint64_t *", self._beginning.mailbox)
            self._control = ffi.cast("int32_t *", self._beginning.mailbox)


class _Meeting:
    """Where the thread and its callers meet.

    Attributes:
        libc: cffi's namespace of it.
        requests: ``sem_t *``, raised by the caller; ``post`` does.
        replies: ``pthread_barrier_t *`` of two; ``join`` waits there.
    """

    __slots__ = ("join", "libc", "post", "replies", "requests")

    def __init__(self) -> None:
        self.libc: Any = ffi.dlopen(None)
        self.requests: Any = ffi.new("sem_t *")
        self.replies: Any = ffi.new("pthread_barrier_t *")
        self.post: Any = self.libc.sem_post
        self.join: Any = self.libc.pthread_barrier_wait
        self.libc.sem_init(self.requests, 0, 0)
        self.libc.pthread_barrier_init(self.replies, ffi.NULL, 2)


@dataclass(slots=True)
class _Beginning:
    """What came of the thread's beginning.

    Attributes:
        error: Why there is no machine; None where there is one.
        mailbox: Address of its mailbox.
        operations: Numbers by names.
    """

    error: EngineUnavailableError | None = None
    mailbox: int = 0
    operations: Mapping[str, int] = field(default_factory=dict)


def _live(library: Library, meeting: _Meeting, beginning: _Beginning) -> None:
    """All that the thread does."""
    # It may have been started by a thread that blocks them all.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {*_FAULTS, library.suspension_signal})
    context = Context(library)
    try:
        serve = _begin(context, library, meeting, beginning)
    except EngineUnavailableError as error:
        beginning.error = error
    else:
        meeting.join(meeting.replies)
        context.run(serve)
    context.close()
    meeting.join(meeting.replies)


def _begin(context: Context, library: Library, meeting: _Meeting, beginning: _Beginning) -> Any:
    """Runs host.js; its ``serve``."""
    lib, libc = library.lib, meeting.libc
    context.define(
        "awaitRequest", ffi.addressof(libc, "sem_wait"), meeting.requests, result=INT_TYPE
    )
    context.define(
        "reply", ffi.addressof(libc, "pthread_barrier_wait"), meeting.replies, result=INT_TYPE
    )
    for name, function in (
        ("addressOf", "jsc_value_typed_array_get_data"),
        ("textOf", "jsc_value_to_string"),
    ):
        context.define(
            name,
            ffi.addressof(lib, function),
            result=UNSIGNED_LONG_TYPE,
            parameters=[lib.jsc_value_get_type()],
        )
    context.define_collector("collectGarbage")
    host = context.evaluate(_host_source())
    beginning.mailbox = context.number(context.property(host, "mailbox"))
    beginning.operations = json.loads(context.text(context.property(host, "operations")))
    return context.property(host, "serve")


@lru_cache(maxsize=1)
def _host_source() -> bytes:
    return resources.files(__package__).joinpath("host.js").read_bytes()
