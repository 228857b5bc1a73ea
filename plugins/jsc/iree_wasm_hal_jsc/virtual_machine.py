"""One JavaScriptCore virtual machine: its lock, its mailbox, its operations.

See host.js for the other half and for the rule that keeps the collector away from what we hold.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from contextlib import contextmanager
from enum import IntEnum
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from iree_wasm_hal.errors import ClosedError, EngineError, EngineUnavailableError, InternalError
from iree_wasm_hal_jsc import forking
from iree_wasm_hal_jsc.c_api import ffi

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iree_wasm_hal_jsc.library import Library

_OPERATIONS = (
    "allocate",
    "bind",
    "closeWindow",
    "compile",
    "createMemory",
    "describe",
    "grow",
    "inspect",
    "instantiate",
    "openWindow",
    "pageCount",
    "release",
    "validate",
)
_MAILBOX_SLOT_COUNT = 1024
_MAX_UNCOLLECTED_INSTANCES = 16
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


class VirtualMachine:
    """A context group of JavaScriptCore with one context and host.js in it.

    One thread at a time is in it: hold ``lock`` around every use of the rest (``entered`` does).
    JavaScriptCore's own lock alone would not keep two threads' mailboxes apart.

    Attributes:
        lib: cffi's namespace of the library.
        context: The ``JSContextRef``, valid as long as this object.
        lock: Serialises all use.
        slots: The mailbox as ``uint64_t *``.
        undefined: The value of a successful operation or call.
        has_pending: Whether entries wait to be released; see ``finish``.
    """

    def __init__(self, library: Library) -> None:
        self.lib = lib = library.lib
        self.lock: threading.Lock | _NoLock = threading.Lock()
        self.has_pending = False
        self._uncollected_instances = 0
        self._pending: deque[tuple[Table, int]] = deque()
        self._collect = library.collect
        group = lib.JSContextGroupCreate()
        context = lib.JSGlobalContextCreateInGroup(group, ffi.NULL)
        lib.JSContextGroupRelease(group)  # the context keeps it
        self.context: Any = context
        self.call = lib.JSObjectCallAsFunction
        self.undefined = lib.JSValueMakeUndefined(context)
        self._evaluate(_host_source())
        self._host = self._property(lib.JSContextGetGlobalObject(context), "host")
        self._operations = {name: self._property(self._host, name) for name in _OPERATIONS}
        self.slots = ffi.cast("uint64_t *", self._bytes_of("mailbox"))
        forking.watch(self)

    def __del__(self) -> None:
        is_abandoned = isinstance(self.lock, _NoLock)
        # In a collected cycle of garbage, users of this object may be finalized after it.
        self.abandon("the virtual machine of engine 'jsc' is gone")
        if not is_abandoned:
            self.lib.JSGlobalContextRelease(self.context)

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
        result = self.call(
            self.context, self._operations[operation], ffi.NULL, 0, ffi.NULL, ffi.NULL
        )
        if result != self.undefined:
            raise self.failure(uncaught=result == ffi.NULL)
        return int(self.slots[0])

    def send(self, data: Any) -> None:
        """Puts bytes where the next operation finds them; hold the lock."""
        self.run("allocate", len(data))
        if len(data):
            ffi.memmove(self._bytes_of("transfer"), data, len(data))

    def receive(self, operation: str, *arguments: int) -> Any:
        """Runs an operation that answers with JSON; hold the lock."""
        length = self.run(operation, *arguments)
        text = bytes(ffi.buffer(self._bytes_of("text"), 2 * length)).decode("utf-16", "replace")
        return json.loads(text)

    def window(self, memory_id: int) -> Any:
        """Where a memory's bytes are, as ``uint8_t *``; hold the lock."""
        self.run("openWindow", memory_id)
        base = ffi.cast("uint8_t *", self._bytes_of("window"))
        self.run("closeWindow")
        return base

    def wrapper(self, instance_id: int, name: str) -> Any:
        """The function object of an export, reachable as long as its instance; hold the lock."""
        self.send(name.encode("utf-16-le", "surrogatepass"))
        self.run("bind", instance_id)
        return self._property(self._host, "wrapper")

    def failure(self, *, uncaught: bool) -> OperationError:
        """What the operation or call that just failed threw; hold the lock.

        Args:
            uncaught: Whether it threw outside of host.js's ``try``, which is so when the thread
                has no stack left for a first JavaScript frame, or the machine no memory.
        """
        if uncaught:
            return OperationError("RangeError", "Maximum call stack size exceeded.", "")
        described = self.receive("describe")
        return OperationError(described["name"], described["message"], described["stack"])

    def release(self, table: Table, entry_id: int) -> None:
        """Gives up an entry, from any thread and at any time, without waiting for a call."""
        self._pending.append((table, entry_id))
        self.has_pending = True
        self.finish()

    def finish(self) -> None:
        """Releases what was given up, unless a thread is inside: that one does it on leaving."""
        done = True
        while self.has_pending and done and self.lock.acquire(blocking=False):
            try:
                done = self._release_pending()
            finally:
                self.lock.release()

    def _release_pending(self) -> bool:
        """Releases what was given up; whether it could."""
        self.has_pending = False
        memories = 0
        instances = self._uncollected_instances
        while self._pending:
            table, entry_id = self._pending[0]
            try:
                self.run("release", table, entry_id)
            except OperationError:  # this thread has no stack left: another will have
                self.has_pending = True
                return False
            self._pending.popleft()
            memories += table is Table.MEMORIES
            instances += table is Table.INSTANCES
        # The collector sees neither the address space of memories (see memory.py), which runs out
        # first, nor the code of programs.
        if memories or instances >= _MAX_UNCOLLECTED_INSTANCES:
            self._collect(self.context)
            instances = 0
        self._uncollected_instances = instances
        return True

    def _bytes_of(self, name: str) -> Any:
        array = self._property(self._host, name)
        return self.lib.JSObjectGetTypedArrayBytesPtr(self.context, array, ffi.NULL)

    def _property(self, owner: Any, name: str) -> Any:
        string = self.lib.JSStringCreateWithUTF8CString(name.encode())
        value = self.lib.JSObjectGetProperty(self.context, owner, string, ffi.NULL)
        self.lib.JSStringRelease(string)
        if value == ffi.NULL:
            raise InternalError(f"host.js has no {name!r}")
        return value

    def _evaluate(self, source: bytes) -> None:
        """Runs host.js.

        Raises:
            EngineUnavailableError: This JavaScriptCore cannot; carries its words.
        """
        script = self.lib.JSStringCreateWithUTF8CString(source)
        error = ffi.new("JSValueRef *")
        self.lib.JSEvaluateScript(self.context, script, ffi.NULL, ffi.NULL, 1, error)
        self.lib.JSStringRelease(script)
        if error[0] != ffi.NULL:
            msg = f"engine 'jsc': this JavaScriptCore cannot be used: {self._text(error[0])}"
            raise EngineUnavailableError(msg)

    def _text(self, value: Any) -> str:
        string = self.lib.JSValueToStringCopy(self.context, value, ffi.NULL)
        size = self.lib.JSStringGetMaximumUTF8CStringSize(string)
        buffer = ffi.new("char[]", size)
        self.lib.JSStringGetUTF8CString(string, buffer, size)
        self.lib.JSStringRelease(string)
        text: bytes = ffi.string(buffer)
        return text.decode("utf-8", "replace")


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


@lru_cache(maxsize=1)
def _host_source() -> bytes:
    return resources.files(__package__).joinpath("host.js").read_bytes()
