"""Calling convention strings, such as ``0rrIiiiICiDCiirIID_v``.

Version ``0``, then the arguments, then optionally ``_`` and the results. Types are ``i`` i32,
``I`` i64, ``f`` f32, ``F`` f64, ``r`` ref, ``v`` nothing; ``C...D`` encloses one variadic span.

Spec: iree/vm/module.h (``iree_vm_function_signature_t``, ``IREE_VM_CCONV_TYPE_*``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from iree_wasm_hal.errors import BytecodeError

__all__ = ["VALUE_TYPES", "CallingConvention", "Span", "parse_calling_convention"]

VALUE_TYPES = "iIfFr"
"""Characters of one value: i32, i64, f32, f64, ref."""

_MAX_LENGTH = 4096
"""No real signature has more than a few dozen values."""


@dataclass(frozen=True, slots=True)
class Span:
    """A variadic span: any number of groups of these element types."""

    types: str


@dataclass(frozen=True, slots=True)
class CallingConvention:
    """A parsed calling convention."""

    text: str
    arguments: tuple[str | Span, ...]
    """One character of ``VALUE_TYPES``, or a span, per argument."""
    results: str
    """Characters of ``VALUE_TYPES``; empty for none."""

    @property
    def is_variadic(self) -> bool:
        """Whether any argument is a span."""
        return any(isinstance(argument, Span) for argument in self.arguments)


@lru_cache(maxsize=1024)
def parse_calling_convention(text: str) -> CallingConvention:
    """Parses a calling convention string.

    Raises:
        BytecodeError: Unknown version or type character, a span that is nested, empty or not
            closed, or more than one ``_``.
    """
    if len(text) > _MAX_LENGTH:
        raise BytecodeError(
            f"calling convention of {len(text)} characters; expected at most {_MAX_LENGTH}"
        )
    if not text:
        return CallingConvention(text, (), "")
    if text[0] != "0":
        raise BytecodeError(f"calling convention {text!r} has version {text[0]!r}; expected '0'")
    arguments, separator, results = text[1:].partition("_")
    if separator and "_" in results:
        raise BytecodeError(f"calling convention {text!r} has more than one '_'")
    return CallingConvention(text, _parse_arguments(text, arguments), _parse_results(text, results))


def _parse_arguments(text: str, fragment: str) -> tuple[str | Span, ...]:
    arguments: list[str | Span] = []
    span: str | None = None
    for character in fragment:
        if character == "C" and span is None:
            span = ""
        elif character == "D" and span:
            arguments.append(Span(span))
            span = None
        elif character == "v" and span is None:
            continue
        elif character not in VALUE_TYPES:
            raise BytecodeError(f"calling convention {text!r}: unexpected {character!r}")
        elif span is None:
            arguments.append(character)
        else:
            span += character
    if span is not None:
        raise BytecodeError(f"calling convention {text!r}: span not closed")
    return tuple(arguments)


def _parse_results(text: str, fragment: str) -> str:
    results = fragment.replace("v", "")
    for character in results:
        if character not in VALUE_TYPES:
            raise BytecodeError(f"calling convention {text!r}: unexpected result {character!r}")
    return results
