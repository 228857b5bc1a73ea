"""Modules that a program imports from and that are written in Python.

A native module is anything with the four members of ``NativeModule``. ``PyModule`` builds one
from decorated functions.

How values arrive, and how results are handed back (positionally, in the order of the calling
convention):

=============  ==========================================================================
``i`` ``I``    int, signed (-2**31 <= i < 2**31, -2**63 <= I < 2**63)
``f`` ``F``    float (``f`` already rounded to f32)
``r``          the object itself, or None for a null ref
``C...D``      one argument: a tuple of values when the span has one element type, else a
               tuple of tuples
=============  ==========================================================================

No result: return None. One result: return the value. More: return a tuple of them. Results are
checked, integers wrapped and ``f`` values rounded, unless the module has an attribute
``trusted_results`` that is true: then it must return canonical values itself. A ref result of a
wrong class is found where the program uses it.

Errors that stand for a failed call are ``InvocationError`` (see ``vm.status.failure``); any other
exception passes through unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeVar

from iree_wasm_hal.status import StatusCode, invocation_error
from iree_wasm_hal.vm.calling_convention import CallingConvention, parse_calling_convention
from iree_wasm_hal.vm.numbers import round_f32, wrap32, wrap64

if TYPE_CHECKING:
    from iree_wasm_hal.errors import InvocationError

__all__ = ["NativeFunction", "NativeModule", "PyModule", "check_results"]

NativeFunction = Callable[..., object]
"""What ``NativeModule.lookup`` gives: called positionally as the module docstring says."""

_F = TypeVar("_F", bound=NativeFunction)


class NativeModule(Protocol):
    """A module whose functions are Python callables."""

    @property
    def name(self) -> str:
        """Namespace of the functions, such as ``"hal"``."""
        ...

    @property
    def version(self) -> int:
        """Compared with the minimum version that a program asks for."""
        ...

    @property
    def types(self) -> Mapping[str, type]:
        """Ref types it defines: full name without ``!`` (``"hal.buffer"``) to Python class."""
        ...

    def lookup(self, function_name: str, calling_convention: str) -> NativeFunction | None:
        """The function served under this name and calling convention, or None.

        Args:
            function_name: Name without the module prefix, such as ``"buffer_view.create"``.
            calling_convention: IREE's string, such as ``"0rIIiiCID_r"``.
        """
        ...

    def served_conventions(self, function_name: str) -> tuple[str, ...]:
        """Calling conventions served under this name, for error messages; may be empty."""
        ...


def check_results(
    function: NativeFunction, full_name: str, convention: CallingConvention
) -> NativeFunction:
    """A function whose results are as its calling convention says.

    Args:
        function: The Python function.
        full_name: For messages.
        convention: Under which it is called.

    Returns:
        The function itself where there is nothing to check. Otherwise a wrapper, which raises
        InvocationError (INTERNAL) when a result is no number or the count is wrong.
    """
    kinds = convention.results
    if kinds in ("", "r"):
        return function

    def wrong(result: object) -> InvocationError:
        return invocation_error(
            StatusCode.INTERNAL,
            f"{full_name} returned {result!r}; its results are {kinds!r} ({convention.text})",
        )

    def one(result: object, kind: str) -> object:
        if kind == "r":
            return result
        if kind in "iI" and isinstance(result, int):
            return wrap32(result) if kind == "i" else wrap64(result)
        if kind in "fF" and isinstance(result, (int, float)):
            return round_f32(float(result)) if kind == "f" else float(result)
        raise wrong(result)

    if len(kinds) == 1:
        return lambda *arguments: one(function(*arguments), kinds)

    def call(*arguments: object) -> tuple[object, ...]:
        results = function(*arguments)
        if not isinstance(results, tuple) or len(results) != len(kinds):
            raise wrong(results)
        return tuple(map(one, results, kinds))

    return call


class PyModule:
    """A native module built from decorated Python functions.

    Example::

        module = PyModule("custom", version=1)

        @module.function("add", "0ii_i")
        def add(a: int, b: int) -> int:
            return a + b

    One name may be registered under several calling conventions. Context-thread-compatible:
    the functions run on the thread that called the program.
    """

    def __init__(
        self, name: str, version: int = 0, types: Mapping[str, type] | None = None
    ) -> None:
        self.name = name
        self.version = version
        self.types: Mapping[str, type] = dict(types or {})
        self._functions: dict[tuple[str, str], NativeFunction] = {}

    def function(self, function_name: str, calling_convention: str) -> Callable[[_F], _F]:
        """Registers the decorated function.

        Raises:
            BytecodeError: The calling convention does not parse.
            ValueError: The pair is registered already.
        """
        parse_calling_convention(calling_convention)
        key = (function_name, calling_convention)
        if key in self._functions:
            raise ValueError(f"{self.name}.{function_name} {calling_convention} registered twice")

        def register(function: _F) -> _F:
            self._functions[key] = function
            return function

        return register

    def close(self) -> None:
        """Lets go of the functions, which may refer to this object, once no program uses them."""
        self._functions.clear()

    def lookup(self, function_name: str, calling_convention: str) -> NativeFunction | None:
        """See ``NativeModule.lookup``."""
        return self._functions.get((function_name, calling_convention))

    def served_conventions(self, function_name: str) -> tuple[str, ...]:
        """See ``NativeModule.served_conventions``."""
        return tuple(cc for name, cc in self._functions if name == function_name)
