"""Exported functions as Python callables."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from iree_wasm_hal.errors import ArgumentError, CallError, ClosedError
from iree_wasm_hal.hal.fence import Fence
from iree_wasm_hal.runtime.arguments import argument_converter
from iree_wasm_hal.runtime.declaration import Declaration, parse_declaration
from iree_wasm_hal.runtime.results import copied, result_converter
from iree_wasm_hal.vm.modules.hal.buffer_views import TensorMismatchError
from iree_wasm_hal.vm.modules.hal.fences import wait_polling

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

    from iree_wasm_hal.hal.allocator import Allocator
    from iree_wasm_hal.vm.calling_convention import CallingConvention
    from iree_wasm_hal.vm.context import Context, VmFunction

__all__ = ["Caller", "Function", "Invocation", "ResultTimeoutError", "is_coarse_fences"]

_DECLARATION = "iree.abi.declaration"
_MODEL = "iree.abi.model"
_COARSE_FENCES = "coarse-fences"


class Caller:
    """What all functions of a module share.

    Attributes:
        lock: Held during a call; a VM context runs one call at a time.
        prepare: Called before each call; None if there is nothing to do.
        poll: Called now and then during a wait; raises when the call is to end.
    """

    lock: threading.RLock
    prepare: Callable[[], object] | None

    def __init__(
        self, context: Context, lock: threading.RLock, deadline_s: float | None = None
    ) -> None:
        self.lock = lock
        self.poll = context.budget.refill
        self.prepare = None if deadline_s is None else partial(context.set_deadline, deadline_s)


class Function:
    """An exported function of a loaded module: numpy in, numpy out.

    Array results are zero-copy views of the device's linear memory; each keeps its memory alive
    for as long as it or an array made from it lives. Results that the program returns from one
    buffer share it. Arguments are copied, results passed back in too: programs may write to
    their arguments' buffers.

    Calls from several threads run one after another.

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
        self._lock = caller.lock
        self._poll = caller.poll
        self._prepare: Callable[[], object] | None = caller.prepare
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

    def __call__(self, *arguments: object, copy: bool = False) -> Any:
        """Runs the function and waits for its results.

        Args:
            arguments: Arrays for tensors (any strides, either byte order); Python numbers for
                scalars; lists where the declared element type holds their values.
            copy: Whether to copy array results out of the linear memory.

        Returns:
            None for no result, the value for one, a tuple for more. A value is an array for a
            tensor, an int, float or bool for a scalar; only the program knows which.

        Raises:
            ArgumentError: Number, shape or dtype of the arguments is wrong.
            InvocationError: The program failed.
            TrapError: A kernel trapped.
            LimitError: Out of linear memory.
            ClosedError: The module is closed.
        """
        return self._deliver(self._run(arguments), copy=copy)

    def call_raw(self, *arguments: object) -> tuple[object, ...]:
        """Runs the function as a call does, and returns its results as the VM has them.

        Buffer views stay buffer views, with their element types; the command line prints those.
        """
        results = self._run(arguments)
        return results if isinstance(results, tuple) else (results,)[: self.result_count]

    def _run(self, arguments: tuple[object, ...]) -> object:
        with self._lock:
            if self._prepare is not None:
                self._prepare()
            values = self._convert(arguments)
            try:
                if self.is_async:
                    signal = Fence()
                    results = self._call(*values, None, signal)
                    if not signal.is_reached:
                        wait_polling(signal, self._poll)
                else:
                    results = self._call(*values)
            except TensorMismatchError as error:
                self._raise_mismatch(error, values)
        return results

    def invoke_async(self, *arguments: object, wait: Fence | None = None) -> Invocation:
        """Starts the function and does not wait for its results.

        Args:
            arguments: As for a call. Arrays are read before this returns, device arrays when the
                program runs.
            wait: A fence that must be reached before the program's device work begins.

        Raises:
            ArgumentError: The function is not async, or the arguments are wrong.
        """
        if not self.is_async:
            raise ArgumentError(
                f"{self.name} is a sync function; compile the model with "
                "--iree-execution-model=async-external, or call it"
            )
        signal = Fence()
        with self._lock:
            if self._prepare is not None:
                self._prepare()
            values = self._convert(arguments)
            try:
                results = self._call(*values, wait, signal)
            except TensorMismatchError as error:
                self._raise_mismatch(error, values)
        return Invocation(self, results, signal)

    def close(self) -> None:
        """Makes further calls raise ClosedError."""
        self._prepare = self._raise_closed

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

    def _raise_closed(self) -> NoReturn:
        raise ClosedError(f"call of {self.name} after its module was closed")


class ResultTimeoutError(CallError, TimeoutError):
    """The results of a call in flight are not there yet."""


class Invocation:
    """A call in flight.

    Attributes:
        fence: Reached when the results are there; fails if the program does.
    """

    def __init__(self, function: Function, results: object, fence: Fence) -> None:
        self._function = function
        self._results = results
        self.fence = fence

    @property
    def is_done(self) -> bool:
        """Whether ``results`` would not block."""
        return self.fence.is_reached or self.fence.failure is not None

    def results(self, timeout_s: float | None = None, *, copy: bool = False) -> Any:
        """Waits for the results and returns them as a call does.

        Raises:
            ResultTimeoutError: They were not there in ``timeout_s`` seconds; a TimeoutError.
            Error: The program failed.
        """
        if not self.fence.wait(timeout_s):
            raise ResultTimeoutError(f"{self._function.name}: no result within {timeout_s} s")
        return self._function._deliver(self._results, copy=copy)


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
