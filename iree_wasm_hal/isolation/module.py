"""The face of a module in a child process."""

from __future__ import annotations

import contextlib
import math
import os
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from iree_wasm_hal.errors import (
    ArgumentError,
    ClosedError,
    Error,
    InternalError,
    ProcessEndedError,
)
from iree_wasm_hal.hal.call import THIS_THREAD, Call, check_seconds
from iree_wasm_hal.hal.patient_lock import PatientLock
from iree_wasm_hal.hal.statistics import DeviceStatistics, MemoryStatistics
from iree_wasm_hal.isolation.plain import reading
from iree_wasm_hal.isolation.protocol import MEMORY, STATISTICS
from iree_wasm_hal.isolation.remote import RemoteModule, UnsentError
from iree_wasm_hal.isolation.requests import pack_request
from iree_wasm_hal.runtime.background import Background
from iree_wasm_hal.runtime.face import FunctionFace, ModuleFace
from iree_wasm_hal.status import StatusCode, invocation_error

if TYPE_CHECKING:
    from iree_wasm_hal.engine.contract import EngineInfo
    from iree_wasm_hal.engine.progress import CompileObserver
    from iree_wasm_hal.isolation.remote import FunctionDescription
    from iree_wasm_hal.isolation.start import StartRequest
    from iree_wasm_hal.isolation.tensors import TensorWriter

__all__ = ["IsolatedDevice", "IsolatedFunction", "IsolatedModule"]


class IsolatedFunction(FunctionFace):
    """A function of a module in a child process.

    Arguments and results are copied. Only what numpy, numbers and bytes can say gets across.
    """

    def __init__(self, module: IsolatedModule, description: FunctionDescription) -> None:
        self.name = description.name
        self.signature = description.signature
        self.is_async = description.is_async
        self.result_types = description.result_types
        self.argument_count = description.argument_count
        self.result_count = description.result_count
        self._module = module

    @property
    def _background(self) -> Background:
        return self._module._background

    def _begin(self, timeout: float | None) -> Call:
        return self._module._begin(timeout)

    def _perform(self, call: Call, arguments: tuple[object, ...], *, copy: bool) -> Any:
        results = self._module._call(call, self.name, arguments, is_raw=False)
        if len(results) != self.result_count:
            raise InternalError(f"{len(results)} results of {self.name}, not {self.result_count}")
        if not results:
            return None
        return results[0] if self.result_count == 1 else tuple(results)

    def _perform_raw(self, call: Call, arguments: tuple[object, ...]) -> tuple[object, ...]:
        return tuple(self._module._call(call, self.name, arguments, is_raw=True))


class IsolatedDevice:
    """What can be asked of a device in a child process, while a call runs too."""

    def __init__(self, module: IsolatedModule) -> None:
        self._module = module

    @property
    def memory(self) -> MemoryStatistics:
        """As ``Device.memory``."""
        counts = self._module._query(MEMORY)
        with reading("statistics"):
            return MemoryStatistics(**counts)

    @property
    def statistics(self) -> DeviceStatistics:
        """As ``Device.statistics``: since the process was started."""
        counts = self._module._query(STATISTICS)
        with reading("statistics"):
            return DeviceStatistics(**counts)


class IsolatedModule(ModuleFace[IsolatedFunction]):
    """A program in a process of its own. Made by ``load(..., isolation="process")``.

    A call that takes too long is ended on any engine: where the engine cannot end a kernel, the
    process is. A crash is a ProcessEndedError. The process is then started anew, with the module's
    state at its beginning, and the next call waits until it is there.

    Thread-safe: calls run one after another.

    Attributes:
        device: Answers for the device in the process.
        start_count: How often a process was started.
    """

    def __init__(
        self,
        start: StartRequest,
        *,
        timeout: float | None = None,
        progress: CompileObserver | None = None,
    ) -> None:
        check_seconds(timeout)
        self.start_count = 0
        self.device = IsolatedDevice(self)
        self._start = start
        self._timeout = timeout
        self._lock = PatientLock()
        self._background = Background()
        self._running: Call | None = None
        self._is_closed = False
        self._remote: RemoteModule | None = None
        _MODULES.add(self)
        try:
            self._remote = self._start_process()
            description = self._remote.wait_until_loaded(Call(), progress)
        except BaseException:  # Ctrl-C as well: the child must not outlive it; raised again
            self.close()
            raise
        self._engine = description.engine
        functions = {one.name: IsolatedFunction(self, one) for one in description.functions}
        super().__init__(description.name, functions)

    @property
    def engine(self) -> EngineInfo:
        """The engine that the kernels run in."""
        return self._engine

    @property
    def statistics(self) -> DeviceStatistics:
        """What the device counted since the process was started."""
        return self.device.statistics

    @property
    def process_id(self) -> int | None:
        """Of the child process; None where there is none now."""
        remote = self._remote
        return None if remote is None or not remote.process.is_alive else remote.process.process_id

    def cancel(self) -> None:
        """Ends the call that runs now with InterruptedCallError, from any thread."""
        call = self._running
        if call is not None:
            call.cancel()

    def close(self) -> None:
        """Ends the process; calls then raise ClosedError. Waits for a running call. Idempotent."""
        with self._lock:
            self._is_closed = True
            self._background.close()
            remote, self._remote = self._remote, None
            if remote is not None:
                remote.close()
            self._start.close()

    # Calls.

    def _begin(self, timeout: float | None) -> Call:
        if timeout is None:
            timeout = self._timeout
        check_seconds(timeout)
        return Call(None if timeout == math.inf else timeout)

    def _call(
        self, call: Call, name: str, arguments: tuple[object, ...], *, is_raw: bool
    ) -> list[object]:
        """Runs a call, when its turn comes."""
        try:
            body, tensors = pack_request((name, is_raw, [_as_array(one) for one in arguments]))
        except ArgumentError as error:
            raise ArgumentError(f"{name}, an argument {error}") from error
        outer = THIS_THREAD.call
        THIS_THREAD.call = call
        try:
            with self._lock:
                return self._call_in_turn(call, name, body, tensors)
        finally:
            THIS_THREAD.call = outer

    def _call_in_turn(
        self, call: Call, name: str, body: bytes, tensors: TensorWriter
    ) -> list[object]:
        if self._running is not None:
            raise invocation_error(
                StatusCode.FAILED_PRECONDITION,
                "the module is in the middle of a call on this very thread; a signal handler must "
                "leave it alone until that is over",
            )
        self._running = call
        try:
            call.check()
            try:
                return self._ready(call).call(call, name, body, tensors)
            except UnsentError:  # it ended since we looked
                self._replace()
            try:
                return self._ready(call).call(call, name, body, tensors)
            except UnsentError as error:  # so did its successor
                ended: ProcessEndedError = error.args[0]
                raise ended from None
        finally:
            self._running = None
            if self._remote is not None and not self._remote.is_usable:
                self._replace()

    # The process. Under the lock.

    def _ready(self, call: Call) -> RemoteModule:
        """The child, when it has loaded the module."""
        if self._is_closed:
            raise ClosedError(f"use of module {self._start.name} after its close()")
        remote = self._remote
        if remote is not None and not (remote.is_usable and remote.process.is_alive):
            remote.close()  # once more, where Ctrl-C came between its end and its successor
            remote = None
        if remote is None:
            remote = self._remote = self._start_process()
        try:
            remote.wait_until_loaded(call)
        finally:
            if not remote.is_usable:  # the same would happen again at once
                remote.close()
                self._remote = None
        return remote

    def _replace(self) -> None:
        """Starts a new child and does not wait for it: the next call does."""
        if self._remote is not None:
            self._remote.close()
        self._remote = None
        with contextlib.suppress(Error):  # the next call tries again and says so
            self._remote = self._start_process()

    def _start_process(self) -> RemoteModule:
        self.start_count += 1
        return RemoteModule(self._start, self._timeout)

    def _query(self, what: str) -> dict[str, Any]:
        remote = self._remote
        if remote is not None and remote.description is not None:
            with contextlib.suppress(ProcessEndedError):  # there is another one, or will be
                return remote.query(what)
        with self._lock:
            return self._ready(Call()).query(what)

    def _forget_process(self) -> None:
        """In a process that was forked: the child is not its own; a call starts another."""
        self._lock = PatientLock()
        self._running = None
        remote, self._remote = self._remote, None
        if remote is not None:
            remote.process.abandon()


def _as_array(value: object) -> object:
    """Arrays of other libraries as numpy's; numpy's own scalars stay what they are."""
    if isinstance(value, np.generic) or not hasattr(value, "__array__"):
        return value
    return np.asarray(value)


_MODULES: weakref.WeakSet[IsolatedModule] = weakref.WeakSet()


def _forget_processes() -> None:
    for module in [*_MODULES]:
        module._forget_process()


os.register_at_fork(after_in_child=_forget_processes)
