"""One V8 isolate: its thread, its requests, its wasm calls and their interruption.

mini-racer gives each isolate a native thread that runs queued tasks in order. A wasm call is one
cancelable task. Its completion callback is not Python code, which would need the GIL on V8's
thread, but ``mr_free_value`` itself, which frees the result; arguments, status and result pass
through shared bytes, the mailbox. A second task, queued at once behind the first and waited for,
tells when the first is over.
"""

from __future__ import annotations

import json
import threading
import weakref
from collections import deque
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from iree_wasm_hal.errors import EngineUnavailableError, InternalError, LimitError
from iree_wasm_hal_v8.c_api import (
    FIRST_EXCEPTION_TYPE,
    TYPE_OBJECT,
    TYPE_STRING,
    ffi,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from iree_wasm_hal_v8.library import Library

NOT_FINISHED, RETURNED, THREW = range(3)
"""Values of the status slot, as in host.js."""

RESULT_SLOT = 1
FIRST_ARGUMENT_SLOT = 2
"""64-bit slots of the mailbox, as in host.js."""


class RequestError(Exception):
    """What JavaScript threw.

    Attributes:
        name: Name of the error's class: ``CompileError``, ``LinkError``, ``RuntimeError``,
            ``RangeError``, ...; ``Exception`` for a wasm exception.
        message: Its text.
        stack: One line per frame, innermost first, after a line with name and text.
    """

    def __init__(self, name: str, message: str, stack: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name
        self.message = message
        self.stack = stack


class Call:
    """One wasm call.

    Attributes:
        owner: Identity of the instance that runs it.
        task: mini-racer's number of it, once it is queued.
        cancelled: Set by ``Isolate.cancel``.
    """

    __slots__ = ("cancelled", "owner", "task")

    def __init__(self, owner: object) -> None:
        self.owner = owner
        self.task: int | None = None
        self.cancelled = False


class Isolate:
    """An isolate with host.js in it; freed with the last reference.

    One thread at a time uses it: ``with isolate.turn:`` around requests, runs and the mailbox.

    Attributes:
        library: The library.
        slots: The mailbox as ``uint64_t *``.
        call: The running wasm call, or None.
    """

    def __init__(self, library: Library) -> None:
        library.check_process()
        _check_room(library)
        self.library = library
        self._lock = threading.Lock()
        self.call: Call | None = None
        self._lib = lib = library.lib
        self._abandoned: deque[int] = deque()
        self._context: int = lib.mr_init_context(ffi.cast("void *", lib.mr_free_value))
        # At exit the process ends with V8's threads: waiting for a running call could hang.
        weakref.finalize(self, _free_context, library, self._context).atexit = False
        self._entry = self._start()
        self._mailbox = self.handle("mailbox")
        self._status = ffi.cast("int32_t *", self._mailbox.value.pointer)
        self.slots = ffi.cast("uint64_t *", self._mailbox.value.pointer)
        self._no_arguments = self.handle("arguments")
        self._nothing = self.handle("nothing")

    @property
    def turn(self) -> threading.Lock:
        """Held around every use. A native lock, which Ctrl-C cannot leave held."""
        self.library.check_process()  # a forked child may have inherited it while it was held
        return self._lock

    def request(self, operation: str, *arguments: object) -> Any:
        """Runs an operation of host.js that answers with plain data.

        Raises:
            RequestError: It threw.
        """
        answer = self._ask(operation, arguments)
        if answer.type != TYPE_STRING:
            raise self._broken(operation, answer)
        return self._plain(answer)

    def handle(self, operation: str, *arguments: object) -> Any:
        """Runs an operation of host.js that answers with a buffer, a function or an array.

        Returns:
            The ``value_handle_t *``; it is freed with the cffi object.

        Raises:
            RequestError: It threw.
        """
        answer = self._ask(operation, arguments)
        if answer.type == TYPE_STRING:
            self._plain(answer)
            raise self._broken(operation, answer)
        return ffi.gc(answer, self._releaser())

    def stage(self, data: bytes | memoryview) -> None:
        """Copies bytes to where the next operation takes them from.

        Raises:
            RequestError: V8 has no room for them.
        """
        source = ffi.from_buffer(data)
        buffer = self.handle("stage", len(source))
        ffi.memmove(buffer.value.pointer, source, len(source))

    def run(self, function: Any, call: Call) -> int:
        """Runs a function of ``bind``; the mailbox has its arguments and then its result.

        Returns:
            ``RETURNED``, ``THREW`` (ask for ``thrown``) or ``NOT_FINISHED`` (it was cancelled).
        """
        lib, context, status = self._lib, self._context, self._status
        status[0] = NOT_FINISHED
        self.call = call
        try:
            call.task = lib.mr_call_function(
                context, function, self._entry, self._no_arguments, context
            )
            if call.cancelled:  # before the task had a number
                lib.mr_cancel_task(context, call.task)
        finally:
            # As _wait does; native code comes first, or Ctrl-C might leave it while the call runs.
            lib.mr_free_value(context, lib.mr_get_identity_hash(context, self._entry))
            self.call = None
        if call.cancelled:
            self._absorb_termination()
        return int(status[0])

    def cancel(self, call: Call) -> None:
        """Ends a call from any thread; mini-racer knows by its task whether it still runs."""
        call.cancelled = True
        task = call.task
        if task is not None:
            self._lib.mr_cancel_task(self._context, task)

    def abandon(self, entry_id: int) -> None:
        """Has an entry of host.js released before the next request. Does not wait."""
        self._abandoned.append(entry_id)

    def live_value_count(self) -> int:
        """Values that mini-racer keeps for us; for tests."""
        return int(self._lib.mr_value_count(self._context))

    def _start(self) -> Any:
        """Loads host.js and gets hold of its entry."""
        lib, context = self._lib, self._context
        source = self._string(_host_source())
        lib.mr_eval(context, source, context)  # its result goes to mr_free_value
        first = lib.mr_make_js_callback(context, context)
        entry = lib.mr_array_push(context, first, first)  # waits; host.js says what this calls
        lib.mr_free_value(context, first)
        lib.mr_free_value(context, source)
        if entry.type != TYPE_OBJECT:
            raise self._broken("start", entry)
        return entry

    def _ask(self, operation: str, arguments: tuple[object, ...]) -> Any:
        """Sends a request; the answer is the caller's to free."""
        if self._abandoned and operation != "release":
            count = len(self._abandoned)
            self.request("release", [self._abandoned.popleft() for _ in range(count)])
        lib, context = self._lib, self._context
        request = self._string(json.dumps([operation, *arguments]))
        answer = lib.mr_array_push(context, self._entry, request)
        lib.mr_free_value(context, request)
        if answer.type >= FIRST_EXCEPTION_TYPE:
            raise self._broken(operation, answer)
        return answer

    def _plain(self, answer: Any) -> Any:
        text = bytes(ffi.buffer(answer.value.bytes, answer.length)).decode("utf-8", "replace")
        self._lib.mr_free_value(self._context, answer)
        decoded = json.loads(text)
        if "failure" in decoded:
            raise RequestError(**decoded["failure"])
        return decoded.get("answer")

    def _string(self, text: str) -> Any:
        encoded = text.encode()
        return self._lib.mr_alloc_string_val(self._context, encoded, len(encoded), TYPE_STRING)

    def _wait(self) -> None:
        """Waits for all queued tasks; the GIL is released meanwhile."""
        lib, context = self._lib, self._context
        lib.mr_free_value(context, lib.mr_get_identity_hash(context, self._entry))

    def _absorb_termination(self) -> None:
        """Meets a termination that V8 was asked for when the call was just over.

        V8 keeps such a request for the next JavaScript that runs: this is it, instead of a call.
        """
        lib, context = self._lib, self._context
        lib.mr_call_function(context, self._nothing, self._entry, self._no_arguments, context)
        self._wait()

    def _releaser(self) -> Callable[[Any], None]:
        library, context = self.library, self._context

        def release(value: Any) -> None:
            if not library.forked:
                library.lib.mr_free_value(context, value)

        return release

    def _broken(self, operation: str, answer: Any) -> InternalError:
        text = ""
        if answer.type == TYPE_STRING or answer.type >= FIRST_EXCEPTION_TYPE:
            text = bytes(ffi.buffer(answer.value.bytes, answer.length)).decode("utf-8", "replace")
        return InternalError(f"host.js: {operation} gave type {answer.type} {text}")


def _check_room(library: Library) -> None:
    """Takes an isolate from the budget; V8 would end the process if it got no thread.

    Raises:
        LimitError: There are too many isolates or threads.
    """
    msg = f"there are {library.isolates.total} linear memories and engines of 'v8'; close some"
    allowed = library.isolates.total
    if library.isolates.take(1):
        thread = threading.Thread(target=int)
        try:
            thread.start()
        except RuntimeError as error:
            library.isolates.give_back(1)
            msg, allowed = f"V8 would get no thread for another linear memory: {error}", 0
        else:
            thread.join()
            return
    raise LimitError(msg, name="isolates", asked=1, allowed=allowed)


def _free_context(library: Library, context: int) -> None:
    """Ends the isolate's thread and frees all that is in the isolate."""
    if not library.forked:  # else there is no thread, and waiting for it would not end
        library.lib.mr_free_context(context)
        library.isolates.give_back(1)


@lru_cache(maxsize=1)
def _host_source() -> str:
    source = resources.files(__package__).joinpath("host.js")
    try:
        return source.read_text("utf-8")
    except OSError as error:
        msg = f"engine 'v8': {source} cannot be read: {error}"
        raise EngineUnavailableError(msg) from error
