"""IREE parameter archives (``.irpa``), version 0.0.

Facts from ``iree/schemas/parameter_archive.h``: a file holds a chain of archives, each a header,
an entry table, a metadata segment (names) and a storage segment, all little-endian and packed;
offsets in a header are relative to that header.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from iree_wasm_hal.errors import ParameterError
from iree_wasm_hal.vm.modules.io_parameters.index import DataEntry, Entry, SplatEntry

__all__ = ["MAGIC", "parse_irpa"]

MAGIC = b"IRPA"
_ENTRY_ALIGNMENT = 16
_PREFIX = struct.Struct("<4sHHQQQ")
_SEGMENTS = struct.Struct("<QQQQQQQ")
_ENTRY = struct.Struct("<QIQQQQQQ")
_SPLAT = struct.Struct("<Q16sB")
_DATA = struct.Struct("<QQ")
assert (_PREFIX.size, _SEGMENTS.size, _ENTRY.size, _SPLAT.size) == (32, 56, 60, 25)

_SKIP, _SPLAT_TYPE, _DATA_TYPE, _EXTERNAL_TYPE = range(4)
_PATTERN_BYTE_LENGTHS = (1, 2, 4, 8, 16)


class _Range(NamedTuple):
    offset: int
    length: int


def parse_irpa(data: memoryview, source: str) -> dict[str, Entry]:
    """Reads the entry tables of every archive in the file; parameter bytes stay where they are.

    Args:
        data: The whole file, format ``B``.
        source: Name of the file for messages.

    Raises:
        ParameterError: A damaged file, an unknown version or entry type, an entry that names
            another file (never followed), or a key that occurs twice.
    """
    entries: dict[str, Entry] = {}
    base = 0
    while True:
        next_offset = _Archive(data, base, source).read_into(entries)
        if next_offset == 0:
            return entries
        # Offsets are unsigned, so each header lies behind the one before it and the chain ends.
        base += next_offset


class _Archive:
    """One header of the chain and what belongs to it."""

    def __init__(self, data: memoryview, base: int, source: str) -> None:
        self._data = data
        self._base = base
        self._source = source

    def read_into(self, entries: dict[str, Entry]) -> int:
        """Adds this archive's entries; returns the next header's relative offset, 0 for none."""
        header_size = _PREFIX.size + _SEGMENTS.size
        if self._base + _PREFIX.size > len(self._data):
            raise self._error(
                f"an archive header of {header_size} bytes at byte {self._base} runs past the end "
                f"of the file ({len(self._data)} bytes)"
            )
        magic, major, minor, size, next_offset, _ = _PREFIX.unpack_from(self._data, self._base)
        if magic != MAGIC:
            raise self._error(f"magic at byte {self._base} is {magic!r}; expected {MAGIC!r}")
        if (major, minor) != (0, 0):
            raise self._error(f"archive version {major}.{minor} is unknown; expected 0.0")
        if size != header_size or self._base + header_size > len(self._data):
            raise self._error(
                f"header at byte {self._base} says {size} bytes; expected {header_size} within the "
                f"file ({len(self._data)} bytes)"
            )
        numbers = _SEGMENTS.unpack_from(self._data, self._base + _PREFIX.size)
        count = numbers[0]
        table = self._segment("entry table", _Range(*numbers[1:3]))
        self._metadata = self._segment("metadata segment", _Range(*numbers[3:5]))
        self._storage = self._segment("storage segment", _Range(*numbers[5:7]))
        table_bytes = self._data[table.offset : table.offset + table.length]
        self._read_table(table_bytes, count, entries)
        return int(next_offset)

    def _segment(self, what: str, span: _Range) -> _Range:
        """A segment with its offset in the file instead of the header's."""
        begin = self._base + span.offset
        if span.length == 0:
            return _Range(self._base, 0)
        if begin + span.length > len(self._data):
            raise self._error(
                f"{what} at bytes {begin} to {begin + span.length} runs past the end of the file "
                f"({len(self._data)} bytes)"
            )
        return _Range(begin, span.length)

    def _read_table(self, table: memoryview, count: int, entries: dict[str, Entry]) -> None:
        position = 0
        for number in range(count):
            if position + _ENTRY.size > len(table):
                raise self._error(f"entry {number} of {count} runs past the end of the table")
            size, kind, _, *refs, _alignment = _ENTRY.unpack_from(table, position)
            if size < _ENTRY.size or position + size > len(table):
                raise self._error(
                    f"entry {number} says {size} bytes; {len(table) - position} are left in the "
                    "table"
                )
            body = table[position + _ENTRY.size : position + size]
            position += (size + _ENTRY_ALIGNMENT - 1) // _ENTRY_ALIGNMENT * _ENTRY_ALIGNMENT
            if kind == _SKIP:
                continue
            begin, end = self._locate(self._metadata, "name", number, _Range(*refs[:2]))
            name = bytes(self._data[begin:end]).decode("utf-8", "surrogateescape")
            if name in entries:
                raise self._error(f"key {name!r} occurs twice")
            entries[name] = self._entry(kind, body, name, number)

    def _entry(self, kind: int, body: memoryview, name: str, number: int) -> Entry:
        if kind == _DATA_TYPE and len(body) >= _DATA.size:
            span = _Range(*_DATA.unpack_from(body))
            begin, end = self._locate(self._storage, "data", number, span)
            return DataEntry(begin, end - begin)
        if kind == _SPLAT_TYPE and len(body) >= _SPLAT.size:
            length, pattern, pattern_length = _SPLAT.unpack_from(body)
            if pattern_length not in _PATTERN_BYTE_LENGTHS or length % pattern_length:
                raise self._error(
                    f"splat {name!r} has a pattern of {pattern_length} bytes for {length}; "
                    "expected 1, 2, 4, 8 or 16 that divide it"
                )
            return SplatEntry(pattern[:pattern_length], length)
        if kind == _EXTERNAL_TYPE:
            raise self._error(
                f"entry {name!r} refers to another file; such references are never followed. "
                "Repack the archive with iree-convert-parameters"
            )
        raise self._error(f"entry {name!r} has unknown type {kind} or is cut short")

    def _locate(self, segment: _Range, what: str, number: int, span: _Range) -> tuple[int, int]:
        """Where a span of a segment begins and ends in the file."""
        if span.length == 0:
            return segment.offset, segment.offset
        if span.offset + span.length > segment.length:
            raise self._error(
                f"{what} of entry {number} is bytes {span.offset} to {span.offset + span.length} "
                f"of a segment of {segment.length}"
            )
        begin = segment.offset + span.offset
        return begin, begin + span.length

    def _error(self, message: str) -> ParameterError:
        return ParameterError(f"{self._source}: {message}")
