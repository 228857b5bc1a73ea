"""Exported functions as Python callables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from iree_wasm_hal.errors import ArgumentError, ClosedError
from iree_wasm_hal.hal.call import THIS_THREAD
from iree_wasm_hal.hal.fence import Fence
from iree_wasm_hal.runtime.arguments import argument_converter
from iree_wasm_hal.runtime.declaration import Declaration, parse_declaration
from iree_wasm_hal.runtime.face import FunctionFace
from iree_wasm_hal.runtime.invocation import Invocation
from iree_wasm_hal.runtime.results import copied, result_converter
from iree_wasm_hal.vm.modules.hal.buffer_views import TensorMismatchError
from iree_wasm_hal.vm.modules.hal.fences import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from iree_wasm_hal.hal.allocator import Allocator
    from iree_wasm_hal.hal.call import Call
    from iree_wasm_hal.runtime.background import Background
    from iree_wasm_hal.runtime.caller import Caller
    from iree_wasm_hal.vm.calling_convention import CallingConvention
    from iree_wasm_hal.vm.context import VmFunction

__all__ = ["Function", "is_coarse_fences"]

_DECLARATION = "iree.abi.declaration"
_MODEL = "iree.abi.model"
_COARSE_FENCES = "coarse-fences"


class Function(FunctionFace):
    """An exported function of a loaded module: numpy in, numpy out.

    Array results are zero-copy views of the device's linear memory; each keeps its memory alive
    for as long as it or an array made from it lives. Results that the program returns from one
    buffer share it. Arguments are copied, results passed back in too: programs may write to
    their arguments' buffers.

    Calls from several threads run one after another. Ending one, by its ``timeout`` or by
    ``Module.cancel``, leaves those of other modules alone.
    """

    def __init__(
        self,
        name: str,
        vm_function: VmFunction,
        allocator: Allocator,
        caller: Caller,
        *,
        is_async: bool,
    ) -> None:
        self.name = name
        self.is_async = is_async
        convention = vm_function.calling_convention
        self._call: Callable[..., object] = vm_function
        self._caller = caller
        text = vm_function.attrs.get(_DECLARATION)
        self._declaration = _fitting(text, convention, is_async=is_async)
        self.signature = text or f"{name}{_describe(convention)}"
        declared = self._declaration
        value_types = convention.arguments[: -2 if is_async else None]
        self._converters = [
            argument_converter(
                declared.arguments[i].type if declared else None, str(value_type), allocator
            )
            for i, value_type in enumerate(value_types)
        ]
        self.result_types = "".join(map(str, convention.results))
        self._results = [
            result_converter(declared.results[i].type if declared else None, value_type)
            for i, value_type in enumerate(convention.results)
        ]
        self.argument_count = len(self._converters)
        self.result_count = len(self._results)

    def __call__(self, *arguments: object, copy: bool = False, timeout: float | None = None) -> Any:
        """See ``FunctionFace.__call__``; this is the same by a shorter way."""
        caller = self._caller
        call = caller.begin(timeout)
        try:
            return self._deliver(self._run(call, arguments), copy=copy)
        finally:
            if caller.is_closed:
                caller.finish()

    @property
    def _background(self) -> Background:
        return self._caller.background

    def _begin(self, timeout: float | None) -> Call:
        return self._caller.begin(timeout)

    def _perform(self, call: Call, arguments: tuple[object, ...], *, copy: bool) -> Any:
        try:
            return self._deliver(self._run(call, arguments), copy=copy)
        finally:
            if self._caller.is_closed:
                self._caller.finish()

    def _perform_raw(self, call: Call, arguments: tuple[object, ...]) -> tuple[object, ...]:
        try:
            results = self._run(call, arguments)
        finally:
            if self._caller.is_closed:
                self._caller.finish()
        return results if isinstance(results, tuple) else (results,)[: self.result_count]

    def invoke_async(
        self, *arguments: object, wait: Fence | None = None, timeout: float | None = None
    ) -> Invocation:
        """Starts the function and does not wait for its results.

        Args:
            arguments: As for a call. Arrays are read before this returns, device arrays when the
                program runs.
            wait: A fence that must be reached before the program's device work begins.
            timeout: Seconds until the results must be there; as for a call.

        Raises:
            ArgumentError: The function is not async, or the arguments are wrong.
            Error: As a call does, where nothing is left to wait for.
        """
        if not self.is_async:
            raise ArgumentError(
                f"{self.name} is a sync function; compile the model with "
                "--iree-execution-model=async-external, or call it"
            )
        call, signal = self._caller.begin(timeout), Fence()
        call.on_cancel = signal.fail
        self._caller.track(call)
        signal.on_reached(lambda _failure: self._caller.release(call))
        try:
            results = self._run(call, arguments, (wait, signal))
        except BaseException as error:  # raised again
            signal.fail(error)
            raise
        finally:
            if self._caller.is_closed:
                self._caller.finish()
        return Invocation(self.name, call, signal, lambda copy: self._deliver(results, copy=copy))

    def _run(
        self, call: Call, arguments: tuple[object, ...], fences: tuple[Fence | None, ...] = ()
    ) -> object:
        """Runs a call on this thread, when its turn comes.

        Args:
            call: What ends it early.
            arguments: As the user gave them.
            fences: An async function's own; without them it is waited for.
        """
        caller = self._caller
        lock = caller.lock
        outer = THIS_THREAD.call
        THIS_THREAD.call = call
        try:
            if not lock.acquire(False):
                lock.wait()
            interrupted, caller.running = caller.running, call
            try:
                if caller.is_closed:
                    raise ClosedError(f"call of {self.name} after its module was closed")
                values = self._convert(arguments)
                if self.is_async:
                    return self._run_async(values, fences)
                return self._call(*values)
            except TensorMismatchError as error:
                self._raise_mismatch(error, values)
            finally:
                caller.running = interrupted
        finally:
            THIS_THREAD.call = outer
            try:  # noqa: SIM105 - as PatientLock says
                lock.release()
            except RuntimeError:
                pass

    def _run_async(self, values: list[object], fences: tuple[Fence | None, ...]) -> object:
        if fences:
            return self._call(*values, *fences)
        signal = Fence()
        results = self._call(*values, None, signal)
        if not signal.is_reached:
            wait_for(signal)
        return results

    def _convert(self, arguments: tuple[object, ...]) -> list[object]:
        converters = self._converters
        if len(arguments) != len(converters):
            raise ArgumentError(
                f"{self.name} takes {len(converters)} argument{'s' * (len(converters) != 1)}, got "
                f"{len(arguments)}; "
                f"it is declared as {self.signature}"
            )
        values: list[object] = []
        try:
            for convert, argument in zip(converters, arguments):  # noqa: B905 - lengths just compared
                values.append(convert(argument))
        except ArgumentError as error:
            raise ArgumentError(
                f"{self.name}, argument {self._argument_name(len(values))}: {error}"
            ) from error
        return values

    def _argument_name(self, number: int) -> str:
        if self._declaration is None:
            return str(number)
        return f"{number} ({self._declaration.arguments[number].name})"

    def _deliver(self, results: object, *, copy: bool) -> object:
        converters = self._results
        if len(converters) == 1:
            convert = converters[0]
            value = results if convert is None else convert(results)
            return copied(value) if copy else value
        if not converters:
            return None
        values = [
            value if convert is None else convert(value)
            for convert, value in zip(converters, results, strict=True)  # type: ignore[call-overload]
        ]
        return tuple(copied(value) for value in values) if copy else tuple(values)

    def _raise_mismatch(self, error: TensorMismatchError, values: list[object]) -> NoReturn:
        """Says which argument the program's own check refused; it knows no names."""
        for number, value in enumerate(values):
            if value is error.view:
                raise TensorMismatchError(
                    f"{self.name}, argument {self._argument_name(number)}: {error}", error.view
                ) from error
        raise error


def is_coarse_fences(attrs: Mapping[str, str]) -> bool:
    """Whether a function's attributes say that it takes a wait and a signal fence."""
    return attrs.get(_MODEL) == _COARSE_FENCES


def _fitting(
    text: str | None, convention: CallingConvention, *, is_async: bool
) -> Declaration | None:
    """The declaration, where it describes the calling convention; programs can carry any text."""
    declaration = parse_declaration(text) if text else None
    if declaration is None:
        return None
    argument_count = len(convention.arguments) - (2 if is_async else 0)
    if (len(declaration.arguments), len(declaration.results)) != (
        argument_count,
        len(convention.results),
    ):
        return None
    return declaration


def _describe(convention: CallingConvention) -> str:
    """A signature from the calling convention: ``(ref, i32) -> (ref)``."""
    names = {"i": "i32", "I": "i64", "f": "f32", "F": "f64", "r": "ref"}
    arguments = ", ".join(
        names.get(argument, "...") if isinstance(argument, str) else "..."
        for argument in convention.arguments
    )
    return f"({arguments}) -> ({', '.join(names[result] for result in convention.results)})"
