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

No result: return None. One result: return the value. More: return a tuple of them. Integer
results are wrapped and ``f`` results rounded by the caller; a ref result of a wrong class is
found where the program uses it.

Errors that stand for a failed call are ``InvocationError`` (see ``vm.status.failure``); any other
exception passes through unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from iree_wasm_hal.vm.calling_convention import parse_calling_convention

__all__ = ["NativeFunction", "NativeModule", "PyModule"]

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

    def lookup(self, function_name: str, calling_convention: str) -> NativeFunction | None:
        """See ``NativeModule.lookup``."""
        return self._functions.get((function_name, calling_convention))

    def served_conventions(self, function_name: str) -> tuple[str, ...]:
        """See ``NativeModule.served_conventions``."""
        return tuple(cc for name, cc in self._functions if name == function_name)
