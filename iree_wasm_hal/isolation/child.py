"""The child process: loads a module and calls its functions as it is told."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn, cast

from iree_wasm_hal.engine.contract import Feature
from iree_wasm_hal.engine.info_document import info_to_document
from iree_wasm_hal.engine.registry import open_engine
from iree_wasm_hal.errors import Error
from iree_wasm_hal.hal.buffer_view import BufferView
from iree_wasm_hal.isolation.channel import Channel
from iree_wasm_hal.isolation.failures import pack_error
from iree_wasm_hal.isolation.plain import pack_plain, unpack_plain
from iree_wasm_hal.isolation.protocol import CANCEL, LOADED, MEMORY, OPENED, PROGRESS
from iree_wasm_hal.isolation.replies import pack_value
from iree_wasm_hal.isolation.requests import unpack_request
from iree_wasm_hal.isolation.segment import Segment
from iree_wasm_hal.isolation.start import ReceivedFile, read_options
from iree_wasm_hal.isolation.tensors import TensorWriter, TypedArray
from iree_wasm_hal.runtime.loader import load

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from iree_wasm_hal.runtime.module import Module

__all__ = ["main"]

_BADNESS = "500"
"""Of 1000: where the system lacks memory, this process goes rather than its parent."""
_LONGEST_QUESTION = 1 << 12


def main(arguments: str) -> NoReturn:
    """Serves the parent until it is gone, or until the module cannot be loaded.

    Args:
        arguments: JSON: six descriptors, the archive's name, and where its options lie.
    """
    data, control, requests, replies, archive, options, name, start, end = json.loads(arguments)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_BADNESS)
    channel = Channel(
        socket.socket(fileno=data), outgoing=Segment(replies), incoming=Segment(requests)
    )
    listener = _Listener(socket.socket(fileno=control))
    loaded = read_options(options, start, end)
    os.close(options)
    try:
        module = _load(channel, ReceivedFile(archive, name), loaded)
    except BaseException as error:  # what a plugin or a module in Python raises as well
        channel.send(LOADED, pack_plain((True, pack_error(error))))
        _leave(1)
    os.close(archive)
    listener.module = module
    channel.send(LOADED, pack_plain((False, _describe(module))))
    with contextlib.suppress(EOFError):
        while True:
            _serve(channel, listener, module)
    module.close()
    _leave(0)


def _load(channel: Channel, archive: ReceivedFile, options: dict[str, Any]) -> Module:
    """Opens the engine and loads the archive, and tells how far that is."""
    engine = open_engine(options.pop("engine"))
    channel.send(OPENED, pack_plain(info_to_document(engine.info)))
    if options.pop("is_observed"):
        options["progress"] = lambda done, total: channel.send(
            PROGRESS, pack_plain((int(done), int(total)))
        )
    if Feature.INTERRUPT not in engine.info.features:
        options["timeout"] = None  # the parent sees to it
    return load(cast("IO[bytes]", archive), engine=engine, isolation=None, **options)


def _describe(module: Module) -> dict[str, object]:
    functions = [module[name] for name in module]
    return {
        "name": module.name,
        "functions": [
            (
                function.name,
                function.signature,
                function.is_async,
                function.result_types,
                function.argument_count,
                function.result_count,
            )
            for function in functions
        ],
    }


def _serve(channel: Channel, listener: _Listener, module: Module) -> None:
    """One call.

    Raises:
        EOFError: The parent is gone.
    """
    message = channel.receive()
    tensors = TensorWriter()
    try:
        name, is_raw, arguments = unpack_request(message.body, message.memory)
        with listener.running(message.number):
            results = _call(module, name, arguments, is_raw=is_raw)
        reply = pack_plain((False, [pack_value(result, tensors) for result in results]))
        channel.send(message.number, reply, tensors)
    except BrokenPipeError:
        raise EOFError from None
    except BaseException as error:  # the parent raises whatever it is
        channel.send(message.number, pack_plain((True, pack_error(error))))


def _call(
    module: Module, name: str, arguments: Sequence[object], *, is_raw: bool
) -> Sequence[object]:
    function = module[name]
    allocator = module.device.allocator
    values = [
        BufferView(allocator.upload(one.array), one.array.shape, one.element_type)
        if isinstance(one, TypedArray)
        else one
        for one in arguments
    ]
    if is_raw:
        return function.call_raw(*values)
    results = function(*values)
    return results if function.result_count > 1 else (results,)[: function.result_count]


class _Listener:
    """Answers at any time, and ends the process when the parent is gone.

    Attributes:
        module: None until it is loaded.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.module: Module | None = None
        self._connection = connection
        self._lock = threading.Lock()
        self._running = 0
        threading.Thread(target=self._listen, name="iree-wasm-listener", daemon=True).start()

    @contextlib.contextmanager
    def running(self, number: int) -> Iterator[None]:
        """The body is a call, which can be cancelled by its number."""
        self._running = number
        try:
            yield
        finally:
            with self._lock:  # nothing ends the next call in its place
                self._running = 0

    def _listen(self) -> None:
        try:
            while packet := self._connection.recv(_LONGEST_QUESTION):
                what, number = unpack_plain(packet)
                if what == CANCEL:
                    self._cancel(number)
                else:
                    self._connection.sendall(pack_plain((number, self._answer(what))))
        except OSError:  # it went with an answer unread, or before one
            pass
        finally:  # without this thread nobody would end the process
            os.killpg(0, signal.SIGKILL)  # whatever it is doing, and all that it started

    def _cancel(self, number: int) -> None:
        with self._lock, contextlib.suppress(Error):  # the parent has another way then
            if self.module is not None and self._running == number:
                self.module.cancel()

    def _answer(self, what: str) -> dict[str, Any]:
        if self.module is None:
            return {}
        found = self.module.device.memory if what == MEMORY else self.module.statistics
        return dataclasses.asdict(found)


def _leave(status: int) -> NoReturn:
    """Ends the process without what plugins and libraries do at the end of one."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
