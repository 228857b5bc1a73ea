"""A verifying FlatBuffer decoder: one pass checks and decodes everything into dataclasses.

There is no accessor that could touch unverified bytes: what the decoder returns is plain Python
data, with large byte vectors as slices of the input. Python slices clamp and negative indices
wrap silently, so every range is checked with unbounded integers before use.

Spec: https://flatbuffers.dev/internals/ (binary format).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from iree_wasm_hal.errors import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "BYTES",
    "STRING",
    "Deferred",
    "FieldType",
    "Scalar",
    "Struct",
    "Table",
    "TableField",
    "Union",
    "UnionVector",
    "Vector",
    "decode",
]

_MAX_DEPTH = 64
_MAX_TABLES = 100_000
_MAX_DEFERRED_TABLES = 1_000_000
_VISIT_FACTOR = 4
"""Bytes visited may be this many times the input's: writers share strings and vtables, but a
shared subtree that blows up does so exponentially."""
_VISIT_SLACK = 4096

_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_I32 = struct.Struct("<i")
_VTABLE_HEADER = struct.Struct("<HH")


@dataclass(frozen=True)
class Scalar:
    """An inline number with its default.

    Attributes:
        format: ``struct`` character without byte order.
        default: Value of an absent field.
    """

    format: str
    default: int = 0


@dataclass(frozen=True)
class Struct:
    """An inline struct: ``make`` is called with the numbers of ``format``."""

    format: str
    make: Callable[..., Any]


@dataclass(frozen=True)
class Vector:
    """A vector of tables, strings, structs or scalars; decoded to a tuple."""

    element: FieldType


@dataclass(frozen=True)
class Union:
    """A table whose type stands in the field before (a ``Scalar("B")``).

    Absent, or of type 0: None. Attributes: ``members`` maps type codes to tables.
    """

    members: Mapping[int, Table]


@dataclass(frozen=True)
class UnionVector:
    """A vector of unions whose types stand in the vector of ``Scalar("B")`` before."""

    members: Mapping[int, Table]


@dataclass(frozen=True)
class Deferred:
    """A table that is verified and decoded at first use; decoded to a ``Callable[[], object]``."""

    table: Table


@dataclass(frozen=True)
class _Text:
    pass


@dataclass(frozen=True)
class _Bytes:
    pass


STRING = _Text()
"""A UTF-8 string; ``""`` where absent."""
BYTES = _Bytes()
"""A ``[uint8]`` as a read-only memoryview; None where absent."""


@dataclass(frozen=True)
class TableField:
    """One field of a table, in the order of the schema."""

    name: str
    type: FieldType
    required: bool = False


@dataclass(frozen=True)
class Table:
    """A table: ``make`` is called with one keyword argument per field."""

    name: str
    make: Callable[..., Any]
    fields: tuple[TableField, ...]


FieldType = Scalar | Struct | Vector | Union | UnionVector | Deferred | Table | _Text | _Bytes


@dataclass
class _Decoder:
    data: memoryview
    depth: int = 0
    table_count: int = 0
    max_tables: int = _MAX_TABLES
    visited: int = 0
    path: list[str] = field(default_factory=list)

    def fail(self, reason: str, position: int) -> ArchiveError:
        where = ".".join(self.path) or "root"
        return ArchiveError(f"FlatBuffer damaged at byte {position} ({where}): {reason}")

    def visit(self, byte_length: int, position: int) -> None:
        self.visited += byte_length
        if self.visited > _VISIT_FACTOR * len(self.data) + _VISIT_SLACK:
            raise self.fail(
                f"shared parts add up to more than {_VISIT_FACTOR} times the file", position
            )

    def check(self, position: int, byte_length: int, alignment: int) -> None:
        if position < 0 or position + byte_length > len(self.data):
            raise self.fail(
                f"{byte_length} bytes needed, FlatBuffer ends at {len(self.data)}", position
            )
        if position % alignment:
            raise self.fail(f"not aligned to {alignment}", position)

    def follow(self, position: int) -> int:
        """The target of the unsigned offset stored at ``position``."""
        self.check(position, 4, 4)
        offset: int = _U32.unpack_from(self.data, position)[0]
        if offset == 0:
            raise self.fail("offset is 0", position)
        return position + offset

    def vector(self, position: int, element_length: int, alignment: int) -> tuple[int, int]:
        """Start and count of the vector at ``position``, its whole range checked."""
        self.check(position, 4, 4)
        count: int = _U32.unpack_from(self.data, position)[0]
        self.check(position + 4, count * element_length, alignment if count else 1)
        return position + 4, count

    # One method per field type; ``position`` is that of the inline field.

    def table(self, position: int, schema: Table) -> Any:
        self.depth += 1
        self.table_count += 1
        if self.depth > _MAX_DEPTH or self.table_count > self.max_tables:
            raise self.fail(f"more than {_MAX_DEPTH} levels or {self.max_tables} tables", position)
        vtable, vtable_length, table_length = self.vtable(position)
        values: dict[str, Any] = {}
        previous: Any = None
        for slot, item in enumerate(schema.fields):
            entry = 4 + 2 * slot
            offset = 0
            if entry + 2 <= vtable_length:
                offset = _U16.unpack_from(self.data, vtable + entry)[0]
            self.path.append(item.name)
            if offset == 0:
                if item.required:
                    raise self.fail(f"required field of {schema.name} is absent", position)
                previous = _absent(item.type)
            else:
                if offset < 4 or offset + _inline_length(item.type) > table_length:
                    raise self.fail(
                        f"field offset {offset} outside the table of {table_length} bytes",
                        position,
                    )
                previous = self.value(position + offset, item.type, previous)
            self.path.pop()
            values[item.name] = previous
        self.depth -= 1
        return schema.make(**values)

    def vtable(self, position: int) -> tuple[int, int, int]:
        self.check(position, 4, 4)
        vtable = position - _I32.unpack_from(self.data, position)[0]
        self.check(vtable, 4, 2)
        vtable_length, table_length = _VTABLE_HEADER.unpack_from(self.data, vtable)
        if vtable_length < 4 or vtable_length % 2 or table_length < 4:
            raise self.fail(
                f"vtable of {vtable_length} bytes for a table of {table_length}", vtable
            )
        self.check(vtable, vtable_length, 2)
        self.check(position, table_length, 4)
        self.visit(table_length, position)
        return vtable, vtable_length, table_length

    def value(self, position: int, kind: FieldType, previous: Any) -> Any:
        if isinstance(kind, Scalar):
            # 8-byte scalars are aligned from the size prefix on, which stands before the data.
            self.check(position, struct.calcsize("<" + kind.format), 1)
            return struct.unpack_from("<" + kind.format, self.data, position)[0]
        if isinstance(kind, Struct):
            self.check(position, struct.calcsize("<" + kind.format), 4)
            return kind.make(*struct.unpack_from("<" + kind.format, self.data, position))
        return self.target(self.follow(position), kind, previous)

    def target(self, position: int, kind: FieldType, previous: Any) -> Any:
        """What an offset leads to."""
        if isinstance(kind, _Text):
            return self.string(position)
        if isinstance(kind, _Bytes):
            start, count = self.vector(position, 1, 1)
            self.visit(4, position)
            return self.data[start : start + count]
        if isinstance(kind, Vector):
            return self.elements(position, kind.element)
        if isinstance(kind, UnionVector):
            return self.union_elements(position, kind.members, previous)
        if isinstance(kind, Deferred):
            return self.deferred(position, kind.table)
        table = self.member(position, kind.members, previous) if isinstance(kind, Union) else kind
        assert isinstance(table, Table)
        return self.table(position, table)

    def string(self, position: int) -> str:
        start, count = self.vector(position, 1, 1)
        self.visit(4 + count, position)
        end = start + count
        self.check(end, 1, 1)
        if self.data[end] != 0:
            raise self.fail("string without its terminating zero", position)
        try:
            return str(self.data[start:end], "utf-8")
        except UnicodeDecodeError as cause:
            raise self.fail(f"string is not UTF-8: {cause}", position) from cause

    def elements(self, position: int, element: FieldType) -> tuple[Any, ...]:
        length = _inline_length(element)
        start, count = self.vector(position, length, min(length, 4))
        self.visit(4 + count * length, position)
        if isinstance(element, Scalar):
            return struct.unpack_from(f"<{count}{element.format}", self.data, start)
        values = []
        for index in range(count):
            self.path.append(f"[{index}]")
            values.append(self.value(start + index * length, element, None))
            self.path.pop()
        return tuple(values)

    def member(self, position: int, members: Mapping[int, Table], code: int) -> Table:
        if code not in members:
            raise self.fail(f"unknown union type {code}", position)
        return members[code]

    def union_elements(
        self, position: int, members: Mapping[int, Table], codes: Any
    ) -> tuple[Any, ...]:
        start, count = self.vector(position, 4, 4)
        self.visit(4 + 4 * count, position)
        if count != len(codes or ()):
            raise self.fail(f"{count} union values for {len(codes or ())} types", position)
        return tuple(
            self.table(self.follow(start + 4 * index), self.member(position, members, code))
            if code
            else None
            for index, code in enumerate(codes or ())
        )

    def deferred(self, position: int, schema: Table) -> Callable[[], Any]:
        self.check(position, 4, 4)
        path = list(self.path)
        return lambda: _Decoder(self.data, max_tables=_MAX_DEFERRED_TABLES, path=path).table(
            position, schema
        )


def _inline_length(kind: FieldType) -> int:
    if isinstance(kind, (Scalar, Struct)):
        return struct.calcsize("<" + kind.format)
    return 4


def _absent(kind: FieldType) -> Any:
    if isinstance(kind, Scalar):
        return kind.default
    if isinstance(kind, (Vector, UnionVector)):
        return ()
    return "" if isinstance(kind, _Text) else None


def decode(data: memoryview, root: Table, identifier: bytes) -> Any:
    """Verifies and decodes a FlatBuffer (without size prefix).

    Args:
        data: The whole FlatBuffer; byte vectors in the result are slices of it.
        root: Schema of the root table.
        identifier: Expected file identifier, 4 bytes.

    Returns:
        What ``root.make`` returns.

    Raises:
        ArchiveError: Any offset, length, alignment or string that is not right, naming the byte
            and the field.
    """
    decoder = _Decoder(data.toreadonly())
    decoder.check(0, 8, 1)
    found = bytes(data[4:8])
    if found != identifier:
        raise ArchiveError(f"FlatBuffer identifier is {found!r}; expected {identifier!r}")
    return decoder.table(decoder.follow(0), root)
