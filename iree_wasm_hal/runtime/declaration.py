"""Reads ``iree.abi.declaration``, the signature that the compiler writes beside a function.

It is text, such as
``sync func @main(%input0: tensor<?x4xf32>, %input1: i32) -> (%output0: tensor<?x4xf32>)``. It is a
description and no contract: the program checks its arguments itself. So what cannot be read here
is no error; such a function is called without checks of ours.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Declaration", "OtherType", "PrimitiveType", "TensorType", "Value", "parse_declaration"]

_OPENING = {"<": ">", "(": ")", "[": "]", "{": "}"}
_CLOSING = frozenset(_OPENING.values())


@dataclass(frozen=True, slots=True)
class TensorType:
    """A ranked tensor; a dimension of None is dynamic."""

    shape: tuple[int | None, ...]
    element_type: str
    """MLIR's spelling: ``f32``, ``i1``, ``ui8``, ``f8E4M3FN``, ``complex<f32>``."""

    def __str__(self) -> str:
        return format_shape(self.shape, self.element_type)


@dataclass(frozen=True, slots=True)
class PrimitiveType:
    """An integer, float or ``index`` passed by value."""

    element_type: str

    def __str__(self) -> str:
        return self.element_type


@dataclass(frozen=True, slots=True)
class OtherType:
    """Anything else, such as ``!hal.buffer_view`` or a type of a custom module."""

    text: str

    def __str__(self) -> str:
        return self.text


Type = TensorType | PrimitiveType | OtherType


@dataclass(frozen=True, slots=True)
class Value:
    """An argument or a result."""

    name: str
    type: Type


@dataclass(frozen=True, slots=True)
class Declaration:
    """One exported function as its author declared it."""

    text: str
    model: str
    """``"sync"`` or ``"async"``."""
    arguments: tuple[Value, ...]
    results: tuple[Value, ...]


def format_shape(shape: tuple[int | None, ...], element_type: str) -> str:
    """IREE's spelling of a tensor type: ``4x?xf32``; a scalar is its element type alone."""
    return "x".join([*("?" if dim is None else str(dim) for dim in shape), element_type])


def parse_declaration(text: str) -> Declaration | None:
    """Parses a declaration; None where its form is not the known one."""
    model, separator, rest = text.partition(" func @")
    if not separator or model not in ("sync", "async"):
        return None
    begin = rest.find("(")
    arguments = _balanced(rest, begin)
    if arguments is None:
        return None
    arrow = rest.find("->", begin + len(arguments) + 2)
    results = _balanced(rest, rest.find("(", arrow)) if arrow >= 0 else None
    if results is None:
        return None
    return Declaration(text, model, _values(arguments), _values(results))


def _balanced(text: str, begin: int) -> str | None:
    """What stands between the bracket at ``begin`` and the one that closes it."""
    if begin < 0:
        return None
    end = _skip_nested(text, begin)
    return None if end is None else text[begin + 1 : end]


def _skip_nested(text: str, begin: int) -> int | None:
    depth, position = 0, begin
    while position < len(text):
        character = text[position]
        if character == '"':
            position = _string_end(text, position)
        elif character in _OPENING:
            depth += 1
        elif character in _CLOSING and text[position - 1] != "-":  # no bracket in "->"
            depth -= 1
            if depth == 0:
                return position
        position += 1
    return None


def _string_end(text: str, begin: int) -> int:
    position = begin + 1
    while position < len(text) and text[position] != '"':
        position += 2 if text[position] == "\\" else 1
    return position


def _split(text: str) -> list[str]:
    """Splits at the commas that no bracket and no string encloses."""
    parts, begin, position = [], 0, 0
    while position < len(text):
        character = text[position]
        if character == '"':
            position = _string_end(text, position)
        elif character in _OPENING:
            position = _skip_nested(text, position) or len(text)
        elif character == ",":
            parts.append(text[begin:position])
            begin = position + 1
        position += 1
    parts.append(text[begin:])
    return [part.strip() for part in parts if part.strip()]


def _values(text: str) -> tuple[Value, ...]:
    values = []
    for number, part in enumerate(_split(text)):
        name, separator, type_text = part.partition(": ")
        if not separator:
            name, type_text = f"{number}", part
        values.append(Value(name.strip().lstrip("%"), _type(_without_attributes(type_text))))
    return tuple(values)


def _without_attributes(text: str) -> str:
    """Drops a trailing attribute dictionary: ``tensor<4xf32> {iree.abi.output = 0 : index}``."""
    begin = text.find(" {")
    return (text if begin < 0 else text[:begin]).strip()


def _type(text: str) -> Type:
    if text.startswith("tensor<") and text.endswith(">"):
        # What follows a comma is an encoding, which the ABI does not show.
        first = _split(text[len("tensor<") : -1])
        return _tensor_type(first[0]) if first else OtherType(text)
    if text == "index" or _is_number_type(text):
        return PrimitiveType(text)
    return OtherType(text)


def _tensor_type(text: str) -> Type:
    shape: list[int | None] = []
    rest = text
    while True:
        dim, separator, tail = rest.partition("x")
        if not separator or not (dim == "?" or dim.isdecimal()):
            return TensorType(tuple(shape), rest)
        shape.append(None if dim == "?" else int(dim))
        rest = tail


def _is_number_type(text: str) -> bool:
    stem = text.lstrip("us") if text[:2] in ("ui", "si") else text
    return (stem[:1] in ("i", "f") and stem[1:2].isdecimal()) or text == "bf16"
