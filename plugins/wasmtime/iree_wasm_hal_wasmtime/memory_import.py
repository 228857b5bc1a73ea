"""Finds out what memory a module imports, before it is compiled for it."""

from __future__ import annotations

from iree_wasm_hal_wasmtime.config import MemoryLimits

_IMPORT_SECTION = 2
_FUNCTION, _TABLE, _MEMORY, _GLOBAL = range(4)
_HAS_MAXIMUM, _INDEX64 = 1, 4
_MAX_INDEX64 = 2**48


class _Reader:
    """Walks over binary wasm; IndexError beyond its end."""

    def __init__(self, data: bytes, position: int) -> None:
        self.data = data
        self.position = position

    def byte(self) -> int:
        self.position += 1
        return self.data[self.position - 1]

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80 or shift > 70:
                return value

    def skip(self, byte_length: int) -> None:
        self.position += byte_length

    def limits(self) -> MemoryLimits:
        flags = self.number()
        self.number()
        index64 = bool(flags & _INDEX64)
        maximum = self.number() if flags & _HAS_MAXIMUM else _MAX_INDEX64
        return MemoryLimits(maximum, index64=index64)


def imported_memory(wasm: bytes) -> MemoryLimits | None:
    """The first memory that a module imports; None where there is none that can be read.

    A module that is malformed is wasmtime's to refuse.
    """
    reader = _Reader(wasm, 8)
    try:
        while reader.position < len(wasm):
            number, byte_length = reader.byte(), reader.number()
            if number == _IMPORT_SECTION:
                return _first_memory(reader)
            reader.skip(byte_length)
    except IndexError:
        return None
    return None


def _first_memory(reader: _Reader) -> MemoryLimits | None:
    for _ in range(reader.number()):
        for _ in range(2):
            reader.skip(reader.number())
        kind = reader.byte()
        if kind == _MEMORY:
            return reader.limits()
        if kind == _FUNCTION:
            reader.number()
        elif kind == _TABLE:
            reader.skip(1)
            reader.limits()
        elif kind == _GLOBAL:
            reader.skip(2)
        else:
            return None
    return None
