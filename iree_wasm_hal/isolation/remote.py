"""A module in a child process, as the parent talks with it."""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from iree_wasm_hal.engine.contract import EngineInfo, Feature
from iree_wasm_hal.engine.info_document import info_from_document
from iree_wasm_hal.errors import (
    CallTimeoutError,
    InternalError,
    InterruptedCallError,
    LimitError,
    ProcessEndedError,
)
from iree_wasm_hal.isolation.failures import unpack_error
from iree_wasm_hal.isolation.plain import pack_plain, reading, unpack_plain
from iree_wasm_hal.isolation.process import ChildProcess
from iree_wasm_hal.isolation.protocol import CANCEL, LOADED, OPENED, PROGRESS
from iree_wasm_hal.isolation.replies import unpack_values

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iree_wasm_hal.engine.progress import CompileObserver
    from iree_wasm_hal.hal.call import Call
    from iree_wasm_hal.isolation.channel import Message
    from iree_wasm_hal.isolation.start import StartRequest
    from iree_wasm_hal.isolation.tensors import TensorWriter

__all__ = ["Description", "FunctionDescription", "RemoteModule", "UnsentError"]

_SLICE_S = 0.02
"""Between two looks at whether a call was cancelled."""
_GRACE_S = 1.0
"""For a call to end by itself on an engine that can interrupt, before its process is killed."""
_QUERY_S = 10.0
"""For a thread that does nothing but answer."""
_LONGEST_ANSWER = 1 << 16


class UnsentError(Exception):
    """A child had ended before a request was sent to it. Its argument is the ProcessEndedError."""


@dataclass(frozen=True, slots=True)
class FunctionDescription:
    """An exported function, as ``Function`` describes it."""

    name: str
    signature: str
    is_async: bool
    result_types: str
    argument_count: int
    result_count: int


@dataclass(frozen=True, slots=True)
class Description:
    """A module that was loaded."""

    name: str
    engine: EngineInfo
    functions: tuple[FunctionDescription, ...]


class RemoteModule:
    """One child process and the module that it loads. Thread-compatible, but for ``query``.

    Whoever meets a malformed message or leaves before the answer is there ends the child: nothing
    could tell afterwards which answer belongs to which call.

    Args:
        start: What to load.
        timeout: Seconds that the initialisation may take; None for no limit.

    Raises:
        EngineUnavailableError: No process can be started.
        LimitError: There is no memory or descriptor for the messages.

    Attributes:
        process: The child.
        description: Of the module, or None until ``wait_until_loaded`` saw it.
        engine: That the child has opened, or None until then.
        is_usable: Whether it may be called; false once it ended or was ended, and from a request
            to its reply, so that whatever interrupts a call leaves no child that is still at it.
    """

    def __init__(self, start: StartRequest, timeout: float | None) -> None:
        self.process = ChildProcess(start)
        self.description: Description | None = None
        self.engine: EngineInfo | None = None
        self.is_usable = True
        self._name = start.name
        self._timeout = timeout
        self._due = math.inf
        self._number = LOADED
        self._question = 0
        self._control_lock = threading.Lock()
        self.process.control.settimeout(_QUERY_S)

    def wait_until_loaded(self, call: Call, observer: CompileObserver | None = None) -> Description:
        """Waits until the child has loaded the module; the child goes on if the call ends before.

        Args:
            call: That needs the module.
            observer: As for ``load``.

        Raises:
            InterruptedCallError: The call was cancelled.
            CallTimeoutError: Its time was up, or that of the initialisation.
            ProcessEndedError: The child ended.
            Error: What ``load`` raised in the child, which has ended.
        """
        while self.description is None:
            try:
                message = self._receive(min(self._due, call.due))
            except TimeoutError:
                self._check_initialisation()
                call.check()
            except EOFError:
                raise self._ended(f"while {self._name} was loaded") from None
            else:
                with self._killing():
                    self._hear(message, observer)
                if self.description is None:  # it may tell of its progress without end
                    self._check_initialisation()
                    call.check()
        return self.description

    def call(
        self, call: Call, function_name: str, body: bytes, tensors: TensorWriter
    ) -> list[object]:
        """Sends a request and waits for the results.

        Args:
            call: Ends the child where it has to end and the engine does not see to that.
            function_name: For messages.
            body: Of the request.
            tensors: That it speaks of.

        Raises:
            InterruptedCallError: The call was cancelled.
            CallTimeoutError: Its time was up.
            ProcessEndedError: The child ended.
            UnsentError: The child had ended before; it got nothing.
            Exception: What the call raised in the child.
        """
        channel = self.process.channel
        self._number += 1
        self.is_usable = False
        sent_length = self._send(call, function_name, body, tensors)
        with self._killing():
            message, ending = self._wait_for_reply(call, function_name)
            channel.trim_outgoing(sent_length)
            failed, content = _outcome(message)
            if not failed:
                results = unpack_values(content, message)
                channel.trim_incoming(message.segment_length)
                self.is_usable = True
                return results
            error = unpack_error(content)
            self.is_usable = True
        if ending is not None and isinstance(error, InterruptedCallError):
            raise ending from error
        raise error

    def query(self, what: str) -> dict[str, Any]:
        """Asks for something that does not concern a call, whether or not one is running.

        Raises:
            ProcessEndedError: The child ended.
            CallTimeoutError: It does not answer.
        """
        with self._control_lock:
            self._question += 1
            try:
                self.process.control.sendall(pack_plain((what, self._question)))
                answer = self._answer(time.monotonic() + _QUERY_S)
            except TimeoutError:
                raise CallTimeoutError(
                    f"{self._name}: its process did not answer within {_QUERY_S} s"
                ) from None
            except OSError:
                answer = None
        if answer is not None:
            return answer
        raise self.process.ended(f"{self._name}, asked for {what}")

    def _answer(self, due: float) -> dict[str, Any] | None:
        """The answer to the last question; None where the child is gone."""
        while packet := self.process.control.recv(_LONGEST_ANSWER):
            with reading("an answer"):
                number, answer = unpack_plain(packet)
                if number == self._question:  # an earlier one may have come late
                    return {str(name): int(count) for name, count in answer.items()}
            if time.monotonic() >= due:
                raise TimeoutError
        return None

    def close(self) -> None:
        """Ends the child; waits until it has. Idempotent."""
        if self.description is None or not self.is_usable:  # in the middle of something long
            self.process.kill()
        self.is_usable = False
        with contextlib.suppress(OSError):  # it was closed before
            self.process.control.shutdown(socket.SHUT_RD)  # for a thread that waits for an answer
        with self._control_lock:  # which would go on to read whatever gets the descriptor next
            self.process.close()

    def _kill(self) -> None:
        self.is_usable = False
        self.process.kill()

    def _ended(self, what: str) -> ProcessEndedError:
        self.is_usable = False
        return self.process.ended(what)

    @contextlib.contextmanager
    def _killing(self) -> Iterator[None]:
        """Ends the child where the body fails: nobody would know what its next message means."""
        try:
            yield
        except BaseException:  # Ctrl-C as well: a reply would be taken for the next call's
            self._kill()
            raise

    def _send(self, call: Call, function_name: str, body: bytes, tensors: TensorWriter) -> int:
        timeout_s = max(_SLICE_S, min(_QUERY_S, call.due - time.monotonic()))
        try:
            return self.process.channel.send(self._number, body, tensors, timeout_s)
        except LimitError:  # before anything was sent
            self.is_usable = True
            raise
        except TimeoutError:
            self._kill()
            call.check()
            raise InternalError("the child process answers requests without reading them") from None
        except ConnectionError:
            raise UnsentError(self._ended(function_name)) from None

    def _wait_for_reply(
        self, call: Call, function_name: str
    ) -> tuple[Message, InterruptedCallError | None]:
        """The reply, and why the call had to end if it had to before that came."""
        ending: InterruptedCallError | None = None
        last = math.inf
        while True:
            try:
                message = self._receive(call.due if ending is None else last)
            except TimeoutError:
                if ending is None:
                    ending = call.end
                    last = time.monotonic() + (_GRACE_S if self._can_interrupt else 0.0)
                if ending is not None and time.monotonic() >= last:
                    raise self._killed(ending) from None
            except EOFError:
                raise self._ended(function_name) from None
            else:
                if message.number == self._number:
                    return message, ending
                raise InternalError(f"message {message.number} instead of {self._number}")
            if ending is not None:
                # Again and again: the child may not have begun the call yet.
                self._send_cancel()

    def _check_initialisation(self) -> None:
        if time.monotonic() >= self._due:
            self._kill()
            raise CallTimeoutError(
                f"{self._name}: the initialisation took longer than its timeout of {self._timeout} "
                "s; its process was ended"
            )

    def _receive(self, due: float) -> Message:
        left = max(0.0, due - time.monotonic())
        return self.process.channel.receive(min(_SLICE_S, left))

    def _send_cancel(self) -> None:
        with contextlib.suppress(OSError):  # it is gone, which the other socket tells
            self.process.control.send(pack_plain((CANCEL, self._number)), socket.MSG_DONTWAIT)

    def _killed(self, ending: InterruptedCallError) -> InterruptedCallError:
        self._kill()
        reason = (
            "did not stop" if self._can_interrupt else "has no other way to stop a running kernel"
        )
        engine = self.engine.name if self.engine else "the engine"
        return type(ending)(
            f"{ending}; {engine} {reason}, so its process was ended. The next call starts it anew, "
            "with the module's state at its beginning"
        )

    @property
    def _can_interrupt(self) -> bool:
        return self.engine is not None and Feature.INTERRUPT in self.engine.features

    def _hear(self, message: Message, observer: CompileObserver | None) -> None:
        """Takes what the child says while it loads."""
        if message.number == OPENED and self.engine is None:
            self.engine = _engine(message)
            if self._timeout is not None and not self._can_interrupt:
                # Otherwise load itself sees to it, and does not count what compiling takes.
                self._due = time.monotonic() + self._timeout
        elif message.number == PROGRESS:
            with reading("its progress"):
                done, total = map(int, unpack_plain(message.body))
            if observer is not None:
                observer(done, total)
        elif message.number == LOADED:
            failed, content = _outcome(message)
            if failed:
                raise unpack_error(content)
            self.description = _description(self.engine, content)
        else:
            raise InternalError(f"message {message.number} of a child process that is loading")


def _outcome(message: Message) -> tuple[bool, Any]:
    match unpack_plain(message.body):
        case [bool(failed), content]:
            return failed, content
        case other:
            raise InternalError(f"the child process sent {other!r:.200} as an outcome")


def _engine(message: Message) -> EngineInfo:
    with reading("an engine"):
        return info_from_document(unpack_plain(message.body))


def _description(engine: EngineInfo | None, content: dict[str, Any]) -> Description:
    if engine is None:
        raise InternalError("the child process loaded a module without an engine")
    with reading("a module"):
        functions = tuple(_function(*one) for one in content["functions"])
        return Description(str(content["name"]), engine, functions)


def _function(
    name: object,
    signature: object,
    is_async: object,
    result_types: object,
    argument_count: Any,
    result_count: Any,
) -> FunctionDescription:
    return FunctionDescription(
        str(name),
        str(signature),
        bool(is_async),
        str(result_types),
        int(argument_count),
        int(result_count),
    )
