"""What a module imports, read from its binary.

WAMR knows it too, but not exactly: it rewrites the limits of an imported memory when it loads a
module that does not grow it.

Spec: https://webassembly.github.io/spec/core/binary/modules.html#import-section
"""

from __future__ import annotations

from dataclasses import dataclass

_HEADER_BYTE_LENGTH = 8
_IMPORT_SECTION = 2
_FUNCTION, _TABLE, _MEMORY, _GLOBAL = range(4)
_HAS_MAXIMUM, _SHARED = 1, 2


@dataclass(frozen=True, slots=True)
class MemoryLimits:
    """Limits of an imported memory, in pages."""

    min_page_count: int
    max_page_count: int | None
    shared: bool


@dataclass(frozen=True, slots=True)
class Import:
    """One import; ``limits`` is None unless it is a memory."""

    name: str
    limits: MemoryLimits | None


def read_imports(wasm: bytes) -> tuple[Import, ...]:
    """The imports of a module that WAMR has validated; their names as ``module.name``."""
    reader = _Reader(wasm, _HEADER_BYTE_LENGTH)
    while reader.offset < len(wasm):
        section = reader.byte()
        byte_length = reader.u32()
        if section == _IMPORT_SECTION:
            return tuple(_read_import(reader) for _ in range(reader.u32()))
        reader.offset += byte_length
    return ()


def _read_import(reader: _Reader) -> Import:
    name = f"{reader.name()}.{reader.name()}"
    kind = reader.byte()
    limits = None
    if kind == _FUNCTION:
        reader.u32()
    elif kind == _TABLE:
        reader.byte()
        _read_limits(reader)
    elif kind == _MEMORY:
        limits = _read_limits(reader)
    elif kind == _GLOBAL:
        reader.byte()
        reader.byte()
    return Import(name, limits)


def _read_limits(reader: _Reader) -> MemoryLimits:
    flags = reader.u32()
    minimum = reader.u32()
    maximum = reader.u32() if flags & _HAS_MAXIMUM else None
    return MemoryLimits(minimum, maximum, bool(flags & _SHARED))


class _Reader:
    def __init__(self, data: bytes, offset: int) -> None:
        self._data = data
        self.offset = offset

    def byte(self) -> int:
        value = self._data[self.offset]
        self.offset += 1
        return value

    def u32(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def name(self) -> str:
        byte_length = self.u32()
        raw = self._data[self.offset : self.offset + byte_length]
        self.offset += byte_length
        return raw.decode("utf-8", "replace")
