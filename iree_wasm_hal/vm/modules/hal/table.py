"""Tables of served imports, and the checks that every one of them makes on its refs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NoReturn, TypeVar

from iree_wasm_hal.status import StatusCode, invocation_error

__all__ = ["FunctionTable", "expect", "wrong_ref"]

_F = TypeVar("_F", bound=Callable[..., object])
_T = TypeVar("_T")


class FunctionTable:
    """Functions by (name without module prefix, calling convention)."""

    def __init__(self) -> None:
        self.functions: dict[tuple[str, str], Callable[..., object]] = {}

    def serve(self, name: str, *calling_conventions: str) -> Callable[[_F], _F]:
        """Registers the decorated function under each of the calling conventions."""

        def register(function: _F) -> _F:
            for calling_convention in calling_conventions:
                self.functions[name, calling_convention] = function
            return function

        return register


def expect(value: object, expected: type[_T], argument: str) -> _T:
    """A ref of the expected class.

    Raises:
        InvocationError: INVALID_ARGUMENT for a null ref or one of another type.
    """
    if not isinstance(value, expected):
        wrong_ref(value, expected, argument)
    return value


def wrong_ref(value: object, expected: type, argument: str) -> NoReturn:
    """Raises the error for a ref of a wrong type; callers on a hot path test the class inline."""
    got = "a null ref" if value is None else f"a {_ref_name(type(value))}"
    raise invocation_error(
        StatusCode.INVALID_ARGUMENT, f"{argument}: expected a {_ref_name(expected)}, got {got}"
    )


def _ref_name(cls: type) -> str:
    """IREE's name of a ref type: ``hal.buffer_view``; Python's for what is none of its types."""
    package = cls.__module__.split(".")[1:2]
    if package not in (["hal"], ["vm"]):
        return cls.__qualname__
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower()
    return f"{package[0]}.{words}"
