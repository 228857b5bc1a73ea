"""One JavaScriptCore virtual machine: its lock, its mailbox, its operations.

See host.js for the other half, and own_thread.py for the way there.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from iree_wasm_hal.errors import ClosedError, EngineError
from iree_wasm_hal_jsc import forking
from iree_wasm_hal_jsc.c_api import ffi
from iree_wasm_hal_jsc.own_thread import OwnThread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iree_wasm_hal_jsc.library import Library

_MAX_UNCOLLECTED_INSTANCES = 4
"""Each may hold megabytes of code; collecting takes a few milliseconds."""


class Table(IntEnum):
    """The tables of host.js whose entries are held by id."""

    PROGRAMS = 0
    MEMORIES = 1
    INSTANCES = 2


class OperationError(EngineError):
    """What JavaScript threw.

    Attributes:
        name: Name of the error's class: ``CompileError``, ``LinkError``, ``RuntimeError``,
            ``RangeError``, ...; ``Exception`` for a wasm exception.
        message: Its text, without the JavaScript source that JavaScriptCore adds.
        stack: One line per frame, innermost first.
    """

    def __init__(self, name: str, message: str, stack: str) -> None:
        super().__init__(f"JavaScriptCore failed: {name}: {message}")
        self.name = name
        self.message = message.partition(" (evaluating '")[0]
        self.stack = stack


class _NoLock:
    """Stands where the lock of a machine was that is gone: nobody gets in."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def __enter__(self) -> None:
        raise ClosedError(self._reason)

    def __exit__(self, *_error: object) -> None:
        """Not reached."""

    def acquire(self, *, blocking: bool) -> bool:
        """Fails."""
        del blocking
        return False

    def release(self) -> None:
        """Not reached."""


class VirtualMachine:
    """A virtual machine of JavaScriptCore on its own thread, with one context and host.js in it.

    One thread at a time uses it: hold ``lock`` around every use of the rest (``entered`` does).

    Attributes:
        lock: Serialises all use.
        slots: The mailbox as ``uint64_t *``.
        request: Runs a function of host.js's, by its number; whether it ended well.
        has_pending: Whether entries wait to be released; see ``finish``.
    """

    lock: threading.Lock | _NoLock = _NoLock("a virtual machine of engine 'jsc' was not started")

    def __init__(self, library: Library) -> None:
        self._thread = OwnThread()
        self.lock = threading.Lock()
        self.has_pending = False
        self._lib = library.lib
        self._uncollected = dict.fromkeys(Table, 0)
        self._pending: deque[tuple[Table, int]] = deque()
        self.request = self._thread.request
        forking.watch(self)
        self._thread.start(library)
        self.slots = self._thread.slots

    def __del__(self) -> None:
        is_abandoned = isinstance(self.lock, _NoLock)
        # In a collected cycle of garbage, users of this object may be finalized after it.
        self.abandon("the virtual machine of engine 'jsc' is gone")
        if not is_abandoned:
            self._thread.end()

    def abandon(self, reason: str) -> None:
        """Lets nobody in any more; what is inside stays."""
        self.lock = _NoLock(reason)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Holds the lock, and releases what others gave up meanwhile."""
        with self.lock:
            if self.has_pending:
                self._release_pending()
            yield
        if self.has_pending:
            self.finish()

    def run(self, operation: str, *arguments: int) -> int:
        """Runs an operation of host.js; hold the lock.

        Returns:
            What it left in the mailbox's first slot.

        Raises:
            OperationError: It threw.
        """
        for index, argument in enumerate(arguments):
            self.slots[index] = argument
        if not self.request(self._thread.operations[operation]):
            raise self.failure()
        return int(self.slots[0])

    def send(self, data: Any) -> None:
        """Puts bytes where the next operation finds them; hold the lock."""
        address = self.run("allocate", len(data))
        if len(data):
            ffi.memmove(ffi.cast("uint8_t *", address), data, len(data))

    def receive(self, operation: str, *arguments: int) -> Any:
        """Runs an operation that answers with JSON; hold the lock."""
        self.run(operation, *arguments)
        return self._answer()

    def failure(self) -> OperationError:
        """What the function that was just requested threw; hold the lock."""
        if not self.request(self._thread.operations["describe"]):
            return OperationError("Error", "JavaScriptCore cannot describe what was thrown", "")
        described = self._answer()
        return OperationError(described["name"], described["message"], described["stack"])

    def release(self, table: Table, entry_id: int) -> None:
        """Gives up an entry, from any thread and at any time, without waiting for a call."""
        self._pending.append((table, entry_id))
        self.has_pending = True
        self.finish()

    def finish(self) -> None:
        """Releases what was given up, unless a thread is inside: that one does it on leaving."""
        while self.has_pending and self.lock.acquire(blocking=False):
            try:
                self._release_pending()
            finally:
                self.lock.release()

    def _release_pending(self) -> None:
        self.has_pending = False
        uncollected = self._uncollected
        try:
            while self._pending:
                table, entry_id = self._pending.popleft()
                uncollected[table] += 1
                self.run("release", table, entry_id)
            # The collector sees neither the address space of memories (see memory.py), which runs
            # out first, nor the code of programs.
            if (
                uncollected[Table.MEMORIES]
                or uncollected[Table.INSTANCES] >= _MAX_UNCOLLECTED_INSTANCES
            ):
                self.run("collect")
                self._uncollected = dict.fromkeys(Table, 0)
        except BaseException:  # of a signal's handler; the rest goes with the next
            self.has_pending = True
            raise

    def _answer(self) -> Any:
        """The JSON that an operation left."""
        characters = ffi.cast("char *", self.slots[0])
        text: bytes = ffi.string(characters)
        self._lib.g_free(characters)
        return json.loads(text)


class Entry:
    """An entry of one of host.js's tables, given up with this object.

    Attributes:
        machine: The machine it lives in.
        entry_id: Its id.
    """

    __slots__ = ("__weakref__", "_table", "entry_id", "machine")

    def __init__(self, machine: VirtualMachine, table: Table, entry_id: int) -> None:
        self.machine = machine
        self.entry_id = entry_id
        self._table = table

    def __del__(self) -> None:
        self.machine.release(self._table, self.entry_id)
