"""FlatBuffer schemas, and ``decode``: one pass checks and decodes everything into dataclasses.

There is no accessor that could touch unverified bytes: what ``decode`` returns is plain Python
data, with large byte vectors as slices of the input.

Spec: https://flatbuffers.dev/internals/ (binary format).
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from iree_wasm_hal.errors import ArchiveError
from iree_wasm_hal.vm.flatbuffer_decoder import (
    MAX_DEFERRED_TABLES,
    MAX_TABLES,
    DamageError,
    Decoder,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "BYTES",
    "STRING",
    "Deferred",
    "DeferredTable",
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


class FieldType(Protocol):
    """What a field holds."""

    @property
    def inline_length(self) -> int:
        """Bytes that it takes in its table or vector."""

    @property
    def absent(self) -> Any:
        """Its value where it is left out."""

    def read(self, decoder: Decoder, position: int, previous: Any) -> Any:
        """Its value.

        Args:
            decoder: Has the bytes.
            position: Of the inline ones.
            previous: Value of the field before.

        Raises:
            DamageError: Anything that is not right.
        """


class _Inline:
    """Numbers that stand in the table itself."""

    format: str

    @cached_property
    def packer(self) -> struct.Struct:
        """The ``struct`` of ``format``, little-endian."""
        return struct.Struct("<" + self.format)

    @cached_property
    def inline_length(self) -> int:
        return self.packer.size


class _Reference(ABC):
    """What an offset in the table leads to."""

    inline_length: ClassVar[int] = 4
    absent: ClassVar[Any] = None

    def read(self, decoder: Decoder, position: int, previous: Any) -> Any:
        return self.target(decoder, decoder.follow(position), previous)

    @abstractmethod
    def target(self, decoder: Decoder, position: int, previous: Any) -> Any:
        """The value, from what stands at ``position``."""


@dataclass(frozen=True)
class Scalar(_Inline):
    """An inline number with its default.

    Attributes:
        format: ``struct`` character without byte order.
        default: Value of an absent field.
    """

    format: str
    default: int = 0

    @property
    def absent(self) -> int:
        """The default."""
        return self.default

    def read(self, decoder: Decoder, position: int, _previous: Any) -> Any:
        """The number."""
        # 8-byte scalars are aligned from the size prefix on, which stands before the data.
        decoder.check(position, self.inline_length, 1)
        return self.packer.unpack_from(decoder.data, position)[0]


@dataclass(frozen=True)
class Struct(_Inline):
    """An inline struct: ``make`` is called with the numbers of ``format``."""

    format: str
    make: Callable[..., Any]
    absent: ClassVar[None] = None

    def read(self, decoder: Decoder, position: int, _previous: Any) -> Any:
        """What ``make`` returns."""
        decoder.check(position, self.inline_length, 4)
        return self.make(*self.packer.unpack_from(decoder.data, position))


@dataclass(frozen=True)
class Vector(_Reference):
    """A vector of tables, strings, structs or scalars; decoded to a tuple."""

    element: FieldType
    absent: ClassVar[tuple[()]] = ()

    def target(self, decoder: Decoder, position: int, _previous: Any) -> tuple[Any, ...]:
        """The elements."""
        element = self.element
        length = element.inline_length
        start, count = decoder.vector(position, length, min(length, 4))
        decoder.visit(4 + count * length, position)
        if isinstance(element, Scalar):
            return struct.unpack_from(f"<{count}{element.format}", decoder.data, start)
        values: list[Any] = []
        try:
            for index in range(count):
                values.append(element.read(decoder, start + index * length, None))
        except DamageError as damage:
            damage.path.append(f"[{len(values)}]")
            raise
        return tuple(values)


@dataclass(frozen=True)
class Union(_Reference):
    """A table whose type stands in the field before (a ``Scalar("B")``).

    Absent, or of type 0: None. Attributes: ``members`` maps type codes to tables.
    """

    members: Mapping[int, Table]

    def target(self, decoder: Decoder, position: int, previous: Any) -> Any:
        """The table of the type that ``previous`` names."""
        return decoder.table(position, _member(self.members, position, previous))


@dataclass(frozen=True)
class UnionVector(_Reference):
    """A vector of unions whose types stand in the vector of ``Scalar("B")`` before."""

    members: Mapping[int, Table]
    absent: ClassVar[tuple[()]] = ()

    def target(self, decoder: Decoder, position: int, previous: Any) -> tuple[Any, ...]:
        """The tables of the types that ``previous`` names."""
        start, count = decoder.vector(position, 4, 4)
        decoder.visit(4 + 4 * count, position)
        codes = previous or ()
        if count != len(codes):
            raise DamageError(f"{count} union values for {len(codes)} types", position)
        return tuple(
            decoder.table(decoder.follow(start + 4 * index), _member(self.members, position, code))
            if code
            else None
            for index, code in enumerate(codes)
        )


@dataclass(frozen=True)
class Deferred(_Reference):
    """A table that is verified and decoded when it is asked for; decoded to a ``DeferredTable``."""

    table: Table

    def target(self, decoder: Decoder, position: int, _previous: Any) -> DeferredTable:
        """What decodes the table."""
        decoder.check(position, 4, 4)
        return DeferredTable(decoder.data, position, self.table)


@dataclass(frozen=True, slots=True)
class DeferredTable:
    """A table that nobody has asked for.

    Attributes:
        data: The FlatBuffer.
        position: Where it stands.
        table: Its schema.
    """

    data: memoryview
    position: int
    table: Table

    def __call__(self) -> Any:
        """Verifies and decodes it. Raises ArchiveError as ``decode`` does."""
        try:
            return Decoder(self.data, MAX_DEFERRED_TABLES).table(self.position, self.table)
        except DamageError as damage:
            raise _archive_error(damage, self.table.name) from damage


class _Text(_Reference):
    absent: ClassVar[str] = ""

    def target(self, decoder: Decoder, position: int, _previous: Any) -> str:
        start, count = decoder.vector(position, 1, 1)
        decoder.visit(4 + count, position)
        end = start + count
        decoder.check(end, 1, 1)
        if decoder.data[end] != 0:
            raise DamageError("string without its terminating zero", position)
        try:
            return str(decoder.data[start:end], "utf-8")
        except UnicodeDecodeError as cause:
            raise DamageError(f"string is not UTF-8: {cause}", position) from cause


class _Bytes(_Reference):
    def target(self, decoder: Decoder, position: int, _previous: Any) -> memoryview:
        start, count = decoder.vector(position, 1, 1)
        decoder.visit(4, position)
        return decoder.data[start : start + count]


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
class Table(_Reference):
    """A table: ``make`` is called with one keyword argument per field."""

    name: str
    make: Callable[..., Any]
    fields: tuple[TableField, ...]

    def target(self, decoder: Decoder, position: int, _previous: Any) -> Any:
        """What ``make`` returns."""
        return decoder.table(position, self)


def _member(members: Mapping[int, Table], position: int, code: int) -> Table:
    if code not in members:
        raise DamageError(f"unknown union type {code}", position)
    return members[code]


def _archive_error(damage: DamageError, root: str) -> ArchiveError:
    where = ".".join(reversed(damage.path)) or root
    return ArchiveError(f"FlatBuffer damaged at byte {damage.position} ({where}): {damage.reason}")


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
    decoder = Decoder(data.toreadonly(), MAX_TABLES)
    try:
        decoder.check(0, 8, 1)
        found = bytes(data[4:8])
        if found != identifier:
            raise ArchiveError(f"FlatBuffer identifier is {found!r}; expected {identifier!r}")
        return decoder.table(decoder.follow(0), root)
    except DamageError as damage:
        raise _archive_error(damage, "root") from damage
