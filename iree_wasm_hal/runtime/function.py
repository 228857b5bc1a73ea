"""Exported functions as Python callables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from iree_wasm_hal.errors import ArgumentError, ClosedError
from iree_wasm_hal.hal.call import THIS_THREAD
from iree_wasm_hal.hal.fence import Fence
from iree_wasm_hal.runtime.arguments import argument_converter
from iree_wasm_hal.runtime.declaration import Declaration, parse_declaration
from iree_wasm_hal.runtime.invocation import Invocation
from iree_wasm_hal.runtime.results import copied, result_converter
from iree_wasm_hal.vm.modules.hal.buffer_views import TensorMismatchError
from iree_wasm_hal.vm.modules.hal.fences import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from iree_wasm_hal.hal.allocator import Allocator
    from iree_wasm_hal.hal.call import Call
    from iree_wasm_hal.runtime.caller import Caller
    from iree_wasm_hal.vm.calling_convention import CallingConvention
    from iree_wasm_hal.vm.context import VmFunction

__all__ = ["Function", "is_coarse_fences"]

_DECLARATION = "iree.abi.declaration"
_MODEL = "iree.abi.model"
_COARSE_FENCES = "coarse-fences"


class Function:
    """An exported function of a loaded module: numpy in, numpy out.

    Array results are zero-copy views of the device's linear memory; each keeps its memory alive
    for as long as it or an array made from it lives. Results that the program returns from one
    buffer share it. Arguments are copied, results passed back in too: programs may write to
    their arguments' buffers.

    Calls from several threads run one after another. A call ends early with CallTimeoutError when
    it takes longer than its ``timeout``, the wait for its turn included, and with
    InterruptedCallError when ``Module.cancel`` ends it; calls of other modules go on.

    Attributes:
        name: Exported name.
        signature: As the compiler declared it, or derived from the calling convention.
        is_async: Whether the program takes a fence to wait for and one to signal.
        result_types: The calling convention's character for each result.
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

    @property
    def argument_count(self) -> int:
        """Number of arguments, an async function's fences aside."""
        return len(self._converters)

    @property
    def result_count(self) -> int:
        """Number of results."""
        return len(self._results)

    def __repr__(self) -> str:
        return f"<iree_wasm_hal function {self.signature}>"

    def __call__(self, *arguments: object, copy: bool = False, timeout: float | None = None) -> Any:
        """Runs the function and waits for its results.

        Args:
            arguments: Arrays for tensors (any strides, either byte order); Python numbers for
                scalars; lists where the declared element type holds their values.
            copy: Whether to copy array results out of the linear memory.
            timeout: Seconds that the call may take; None for those that ``load`` was given, and
                infinity for any number.

        Returns:
            None for no result, the value for one, a tuple for more. A value is an array for a
            tensor, an int, float or bool for a scalar; only the program knows which.

        Raises:
            ArgumentError: Number, shape or dtype of the arguments is wrong.
            InvocationError: The program failed.
            TrapError: A kernel trapped.
            CallTimeoutError: It took longer than ``timeout``; a TimeoutError.
            InterruptedCallError: ``Module.cancel`` ended it.
            EngineError: There is a ``timeout``, and the engine cannot end a running kernel.
            LimitError: Out of linear memory.
            ClosedError: The module is closed.
        """
        return self._deliver(self._run(self._caller.begin(timeout), arguments), copy=copy)

    async def aio(
        self, *arguments: object, copy: bool = False, timeout: float | None = None
    ) -> Any:
        """Calls the function in a thread of the module's own, for an event loop.

        Cancelling the task that awaits it ends the call. Arguments are read in that thread: leave
        arrays alone until then.

        Args:
            arguments: As for a call.
            copy: As for a call.
            timeout: As for a call; its time runs from now on.

        Raises:
            Error: As a call does.
        """
        call = self._caller.begin(timeout)

        def run() -> object:
            return self._deliver(self._run(call, arguments), copy=copy)

        return await self._caller.background.run(call, run)

    def call_raw(self, *arguments: object, timeout: float | None = None) -> tuple[object, ...]:
        """Runs the function as a call does, and returns its results as the VM has them.

        Buffer views stay buffer views, with their element types; the command line prints those.
        """
        results = self._run(self._caller.begin(timeout), arguments)
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
            results = self._run(call, arguments, wait, signal)
        except BaseException as error:  # raised again
            signal.fail(error)
            raise
        return Invocation(self.name, call, signal, lambda copy: self._deliver(results, copy=copy))

    def _run(self, call: Call, arguments: tuple[object, ...], *fences: Fence | None) -> object:
        """Runs a call on this thread, when its turn comes.

        Args:
            call: What ends it early.
            arguments: As the user gave them.
            fences: An async function's own; without them it is waited for.
        """
        caller = self._caller
        outer = THIS_THREAD.call
        THIS_THREAD.call = call
        try:
            with caller.lock:
                interrupted, caller.running = caller.running, call
                try:
                    return self._run_in_turn(arguments, fences)
                finally:
                    caller.running = interrupted
        finally:
            THIS_THREAD.call = outer

    def _run_in_turn(
        self, arguments: tuple[object, ...], fences: tuple[Fence | None, ...]
    ) -> object:
        if self._caller.is_closed:
            raise ClosedError(f"call of {self.name} after its module was closed")
        values = self._convert(arguments)
        try:
            if not self.is_async or fences:
                return self._call(*values, *fences)
            signal = Fence()
            results = self._call(*values, None, signal)
        except TensorMismatchError as error:
            self._raise_mismatch(error, values)
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
