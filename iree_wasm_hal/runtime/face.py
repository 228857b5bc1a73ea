"""What every loaded program offers, wherever it runs: here, in a child process, or several times.

A kind of module derives from both classes and says how a call is made; how it looks to the user is
said here.
"""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from typing_extensions import Self

    from iree_wasm_hal.engine.contract import EngineInfo
    from iree_wasm_hal.hal.call import Call
    from iree_wasm_hal.hal.statistics import DeviceStatistics
    from iree_wasm_hal.runtime.background import Background

__all__ = ["FunctionFace", "ModuleFace"]


class FunctionFace(abc.ABC):
    """An exported function: numpy in, numpy out. Thread-safe.

    A call ends early with CallTimeoutError when it takes longer than its ``timeout``, the wait for
    its turn included, and with InterruptedCallError when the module's ``cancel`` ends it.

    Attributes:
        name: Exported name.
        signature: As the compiler declared it, or derived from the calling convention.
        is_async: Whether the program takes a fence to wait for and one to signal.
        result_types: The calling convention's character for each result.
        argument_count: Number of arguments, an async function's fences aside.
        result_count: Number of results.
    """

    name: str
    signature: str
    is_async: bool
    result_types: str
    argument_count: int
    result_count: int

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
            InterruptedCallError: The module's ``cancel`` ended it.
            ProcessEndedError: The module runs in a child process, which ended.
            EngineError: There is a ``timeout``, and the engine cannot end a running kernel.
            LimitError: Out of linear memory.
            ClosedError: The module is closed.
        """
        return self._perform(self._begin(timeout), arguments, copy=copy)

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
        call = self._begin(timeout)
        return await self._background.run(call, lambda: self._perform(call, arguments, copy=copy))

    def call_raw(self, *arguments: object, timeout: float | None = None) -> tuple[object, ...]:
        """Runs the function as a call does, and returns its results as the VM has them.

        Buffer views stay buffer views, with their element types; the command line prints those.
        """
        return self._perform_raw(self._begin(timeout), arguments)

    @property
    @abc.abstractmethod
    def _background(self) -> Background:
        """Where calls run that an event loop waits for."""

    @abc.abstractmethod
    def _begin(self, timeout: float | None) -> Call:
        """A call that begins now; raises ArgumentError or EngineError for the time-out."""

    @abc.abstractmethod
    def _perform(self, call: Call, arguments: tuple[object, ...], *, copy: bool) -> Any:
        """Makes the call on this thread and returns what ``__call__`` does."""

    @abc.abstractmethod
    def _perform_raw(self, call: Call, arguments: tuple[object, ...]) -> tuple[object, ...]:
        """Makes the call on this thread and returns what ``call_raw`` does."""


_F = TypeVar("_F", bound=FunctionFace)


class ModuleFace(abc.ABC, Generic[_F]):
    """A loaded program. Thread-safe.

    Exported functions are attributes, or items where a name is no Python identifier or hidden by
    a member of this class: ``module.main(x)``, ``module["main$async"]``.

    Attributes:
        name: The program's own name.
        functions: Exported names with their declared signatures.
    """

    def __init__(self, name: str, functions: Mapping[str, _F]) -> None:
        self.name = name
        self._functions = functions
        self.functions: Mapping[str, str] = {
            name: function.signature for name, function in functions.items()
        }

    def __repr__(self) -> str:
        return (
            f"<iree_wasm_hal module {self.name!r} with {', '.join(self._functions) or 'nothing'}>"
        )

    def __getattr__(self, name: str) -> _F:
        function = self.__dict__.get("_functions", {}).get(name)
        if function is None:
            raise AttributeError(self._unknown(name))
        return function  # type: ignore[no-any-return]  # values of the dict are functions

    def __getitem__(self, name: str) -> _F:
        try:
            return self._functions[name]
        except KeyError:
            raise KeyError(self._unknown(name)) from None

    def __contains__(self, name: object) -> bool:
        return name in self._functions

    def __iter__(self) -> Iterator[str]:
        return iter(self._functions)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._functions]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    @abc.abstractmethod
    def engine(self) -> EngineInfo:
        """The engine that the kernels run in."""

    @property
    @abc.abstractmethod
    def statistics(self) -> DeviceStatistics:
        """What the device counted since it was created."""

    @abc.abstractmethod
    def cancel(self) -> None:
        """Ends the call that runs now with InterruptedCallError, from any thread, at any time.

        Where nothing runs, nothing happens. Calls that wait for their turn go on.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Ends the program; calls then raise ClosedError. Waits for a running call. Idempotent."""

    def _unknown(self, name: str) -> str:
        members = self.__dict__  # which a module that could not be loaded lacks
        exported = ", ".join(members.get("_functions", {})) or "none"
        return (
            f"module {members.get('name')!r} exports no function {name!r}; it exports: {exported}"
        )
