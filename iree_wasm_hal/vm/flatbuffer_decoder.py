"""One pass over a FlatBuffer: every offset, length and alignment is checked before it is used.

What the bytes mean is the schema's affair (``flatbuffer``). Python slices clamp and negative
indices wrap silently, so ranges are compared as unbounded integers.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from iree_wasm_hal.vm.flatbuffer import Table, TableField

__all__ = ["MAX_DEFERRED_TABLES", "MAX_TABLES", "DamageError", "Decoder"]

MAX_TABLES = 100_000
MAX_DEFERRED_TABLES = 1_000_000
_MAX_DEPTH = 64
_VISIT_FACTOR = 4
"""Bytes visited may be this many times the input's: writers share strings and vtables, but a
shared subtree that blows up does so exponentially."""
_VISIT_SLACK = 4096

_U32 = struct.Struct("<I")
_I32 = struct.Struct("<i")
_VTABLE_HEADER = struct.Struct("<HH")


class DamageError(Exception):
    """What is wrong, and where.

    Attributes:
        reason: For the message.
        position: Byte of the FlatBuffer.
        path: Names of the fields that lead there, the innermost first.
    """

    def __init__(self, reason: str, position: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.position = position
        self.path: list[str] = []


@dataclass(frozen=True, slots=True)
class _Layout:
    """A vtable, read for one schema.

    Attributes:
        table_length: Inline bytes of a table.
        absent: The values of the fields that are left out.
        present: Name, name of the field before, ``read`` and offset of the others.
    """

    table_length: int
    absent: dict[str, Any]
    present: list[tuple[str, str, Callable[..., Any], int]]


class Decoder:
    """Checks and reads one FlatBuffer. All methods raise DamageError.

    Args:
        data: All of it.
        max_tables: Bounds the work, as the depth and the visited bytes do.

    Attributes:
        data: As given.
    """

    __slots__ = (
        "_byte_length",
        "_depth",
        "_layouts",
        "_max_tables",
        "_table_count",
        "_visitable",
        "data",
    )

    def __init__(self, data: memoryview, max_tables: int) -> None:
        self.data = data
        self._byte_length = len(data)
        self._visitable = _VISIT_FACTOR * len(data) + _VISIT_SLACK
        self._depth = 0
        self._layouts: dict[tuple[int, int], _Layout] = {}  # by vtable and schema
        self._table_count = 0
        self._max_tables = max_tables

    def visit(self, byte_length: int, position: int) -> None:
        """Counts bytes that become part of the result."""
        self._visitable -= byte_length
        if self._visitable < 0:
            raise DamageError(
                f"shared parts add up to more than {_VISIT_FACTOR} times the file", position
            )

    def check(self, position: int, byte_length: int, alignment: int) -> None:
        """Checks that a range is within the data and begins at a multiple of ``alignment``."""
        if position < 0 or position + byte_length > self._byte_length:
            raise DamageError(
                f"{byte_length} bytes needed, FlatBuffer ends at {self._byte_length}", position
            )
        if position % alignment:
            raise DamageError(f"not aligned to {alignment}", position)

    def follow(self, position: int) -> int:
        """The target of the unsigned offset stored at ``position``."""
        self.check(position, 4, 4)
        offset: int = _U32.unpack_from(self.data, position)[0]
        if offset == 0:
            raise DamageError("offset is 0", position)
        return position + offset

    def vector(self, position: int, element_length: int, alignment: int) -> tuple[int, int]:
        """Start and count of the vector at ``position``, its whole range checked."""
        self.check(position, 4, 4)
        count: int = _U32.unpack_from(self.data, position)[0]
        self.check(position + 4, count * element_length, alignment if count else 1)
        return position + 4, count

    def table(self, position: int, schema: Table) -> Any:
        """The table at ``position``, as its schema makes it."""
        self._depth += 1
        self._table_count += 1
        if self._depth > _MAX_DEPTH or self._table_count > self._max_tables:
            raise DamageError(
                f"more than {_MAX_DEPTH} levels or {self._max_tables} tables", position
            )
        layout = self._layout(position, schema)
        self.check(position, layout.table_length, 4)
        self.visit(layout.table_length, position)
        values = layout.absent.copy()
        name = ""
        try:
            for name, previous, read, offset in layout.present:
                values[name] = read(self, position + offset, values.get(previous))
        except DamageError as damage:
            damage.path.append(name)
            raise
        self._depth -= 1
        return schema.make(**values)

    def _layout(self, position: int, schema: Table) -> _Layout:
        """What the table's vtable says; many tables share one, which is checked once."""
        self.check(position, 4, 4)
        vtable = position - _I32.unpack_from(self.data, position)[0]
        key = vtable, id(schema)
        layout = self._layouts.get(key)
        if layout is None:
            layout = self._layouts[key] = self._read_vtable(vtable, position, schema)
        return layout

    def _read_vtable(self, vtable: int, position: int, schema: Table) -> _Layout:
        self.check(vtable, 4, 2)
        byte_length, table_length = _VTABLE_HEADER.unpack_from(self.data, vtable)
        if byte_length < 4 or byte_length % 2 or table_length < 4:
            raise DamageError(
                f"vtable of {byte_length} bytes for a table of {table_length}", vtable
            )
        self.check(vtable, byte_length, 2)
        count = min(byte_length // 2 - 2, len(schema.fields))
        offsets = struct.unpack_from(f"<{count}H", self.data, vtable + 4)
        offsets += (0,) * (len(schema.fields) - count)
        layout = _Layout(table_length, {}, [])
        previous = ""
        for field, offset in zip(schema.fields, offsets, strict=True):
            if offset == 0 and not field.required:
                layout.absent[field.name] = field.type.absent
            elif 4 <= offset <= table_length - field.type.inline_length:
                layout.present.append((field.name, previous, field.type.read, offset))
            else:
                raise _field_damage(schema, field, position, offset, table_length)
            previous = field.name
        return layout


def _field_damage(
    schema: Table, field: TableField, position: int, offset: int, table_length: int
) -> DamageError:
    reason = (
        f"field offset {offset} outside the table of {table_length} bytes"
        if offset
        else f"required field of {schema.name} is absent"
    )
    damage = DamageError(reason, position)
    damage.path.append(field.name)
    return damage
