"""Expressions of the assembler: typed `Value`s, which are code that leaves a value on the stack.

Spec: https://webassembly.github.io/spec/core/binary/instructions.html
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from iree_wasm_hal.errors import InternalError
from iree_wasm_hal.wasm.binary import encode_sleb128, encode_uleb128, encode_vector

__all__ = [
    "I32",
    "I64",
    "Label",
    "Local",
    "Signature",
    "Value",
    "ValueType",
    "constant",
    "make_local",
]


class ValueType(IntEnum):
    """Value types by their binary encoding."""

    I32 = 0x7F
    I64 = 0x7E


I32, I64 = ValueType.I32, ValueType.I64

# Opcodes of (i32, i64) instructions.
_BINARY = {
    "add": (0x6A, 0x7C),
    "sub": (0x6B, 0x7D),
    "mul": (0x6C, 0x7E),
    "div_u": (0x6E, 0x80),
    "rem_u": (0x70, 0x82),
    "and": (0x71, 0x83),
    "or": (0x72, 0x84),
    "shl": (0x74, 0x86),
    "shr_u": (0x76, 0x88),
}
_COMPARE = {
    "eq": (0x46, 0x51),
    "ne": (0x47, 0x52),
    "lt_s": (0x48, 0x53),
    "lt_u": (0x49, 0x54),
    "gt_u": (0x4B, 0x56),
    "ge_u": (0x4F, 0x5A),
}


@dataclass(frozen=True, slots=True)
class Signature:
    """A function type with named parameters."""

    parameters: tuple[tuple[str, ValueType], ...]
    results: tuple[ValueType, ...]

    def encode(self) -> bytes:
        """The function type for the type section."""
        parameters = [bytes([kind]) for _, kind in self.parameters]
        results = [bytes([kind]) for kind in self.results]
        return b"\x60" + encode_vector(parameters) + encode_vector(results)


@dataclass(frozen=True, slots=True)
class Value:
    """Code that leaves one value of ``type`` on the stack."""

    type: ValueType
    code: bytes

    def __add__(self, other: Value | int) -> Value:
        return self._binary("add", other)

    def __sub__(self, other: Value | int) -> Value:
        return self._binary("sub", other)

    def __mul__(self, other: Value | int) -> Value:
        return self._binary("mul", other)

    def __floordiv__(self, other: Value | int) -> Value:
        return self._binary("div_u", other)

    def __mod__(self, other: Value | int) -> Value:
        return self._binary("rem_u", other)

    def __and__(self, other: Value | int) -> Value:
        return self._binary("and", other)

    def __or__(self, other: Value | int) -> Value:
        return self._binary("or", other)

    def __lshift__(self, other: Value | int) -> Value:
        return self._binary("shl", other)

    def __rshift__(self, other: Value | int) -> Value:
        return self._binary("shr_u", other)

    def eq(self, other: Value | int) -> Value:
        """Equal, as i32 0 or 1; so for the others."""
        return self._compare("eq", other)

    def ne(self, other: Value | int) -> Value:
        """Not equal."""
        return self._compare("ne", other)

    def lt_s(self, other: Value | int) -> Value:
        """Less, signed."""
        return self._compare("lt_s", other)

    def lt_u(self, other: Value | int) -> Value:
        """Less, unsigned."""
        return self._compare("lt_u", other)

    def gt_u(self, other: Value | int) -> Value:
        """Greater, unsigned."""
        return self._compare("gt_u", other)

    def ge_u(self, other: Value | int) -> Value:
        """Greater or equal, unsigned."""
        return self._compare("ge_u", other)

    def is_zero(self) -> Value:
        """Zero, as i32 0 or 1."""
        return Value(I32, self.code + bytes([0x45 if self.type is I32 else 0x50]))

    def to(self, target: ValueType) -> Value:
        """Wrapped to i32 or zero-extended to i64."""
        if target is self.type:
            return self
        return Value(target, self.code + bytes([0xA7 if target is I32 else 0xAD]))

    def min_u(self, other: Value | int) -> Value:
        """The smaller one, unsigned; both are evaluated twice, so keep them plain."""
        second = self._operand(other)
        return Value(self.type, self.code + second.code + self.lt_u(second).code + b"\x1b")

    def _operand(self, other: Value | int) -> Value:
        if isinstance(other, int):
            return constant(self.type, other)
        if other.type is not self.type:
            raise InternalError(f"operands are {self.type.name} and {other.type.name}")
        return other

    def _binary(self, name: str, other: Value | int) -> Value:
        opcode = _BINARY[name][self.type is I64]
        return Value(self.type, self.code + self._operand(other).code + bytes([opcode]))

    def _compare(self, name: str, other: Value | int) -> Value:
        opcode = _COMPARE[name][self.type is I64]
        return Value(I32, self.code + self._operand(other).code + bytes([opcode]))


@dataclass(frozen=True, slots=True)
class Local(Value):
    """A parameter or local; reading it is the value."""

    index: int


def make_local(index: int, kind: ValueType) -> Local:
    """The local with an index."""
    return Local(kind, b"\x20" + encode_uleb128(index), index)


@dataclass(slots=True)
class Label:
    """A block or loop to branch to; valid inside it only."""

    depth: int


def constant(kind: ValueType, value: int) -> Value:
    """A constant, taken modulo the type's size."""
    bit_count = 32 if kind is I32 else 64
    value &= (1 << bit_count) - 1
    signed = value - (1 << bit_count) if value >> (bit_count - 1) else value
    return Value(kind, bytes([0x41 if kind is I32 else 0x42]) + encode_sleb128(signed))
