"""What is kept of a module beside its code: what it imports, and what its functions are called.

Reads binaries that WAMR has validated. WAMR knows the imports too, but rewrites the limits of an
imported memory when it loads a module that does not grow it.

Spec: https://webassembly.github.io/spec/core/binary/modules.html
"""

from __future__ import annotations

from dataclasses import dataclass, field

_HEADER_BYTE_LENGTH = 8
_CUSTOM, _IMPORTS, _MEMORIES, _EXPORTS = 0, 2, 5, 7
_FUNCTION, _TABLE, _MEMORY, _GLOBAL = range(4)
_FUNCTION_NAMES = 1
_HAS_MAXIMUM, _SHARED, _INDEX64 = 1, 2, 4
_MAX_NUMBER_BIT_LENGTH = 64


@dataclass(frozen=True, slots=True)
class MemoryLimits:
    """Limits of a memory, in pages."""

    min_page_count: int
    max_page_count: int | None
    shared: bool
    index64: bool


@dataclass(frozen=True, slots=True)
class Import:
    """One import; ``limits`` is None unless it is a memory."""

    name: str
    limits: MemoryLimits | None


@dataclass(slots=True)
class ModuleSummary:
    """What is kept of a module.

    Attributes:
        imports: In order, their names as ``module.name``.
        imported_function_count: How many of them are functions, which come first in the index.
        index64: Whether a memory of it, imported or its own, has 64-bit addresses.
        names: Of functions by index, from the name section or else from the exports.
    """

    imports: tuple[Import, ...] = ()
    imported_function_count: int = 0
    index64: bool = False
    names: dict[int, str] = field(default_factory=dict)


def read_module(wasm: bytes) -> ModuleSummary:
    """Reads a valid module; a name section that is damaged names what it names up to there."""
    summary = ModuleSummary()
    exported: dict[int, str] = {}
    reader = Reader(wasm, _HEADER_BYTE_LENGTH)
    while reader.offset < len(wasm):
        section = reader.byte()
        byte_length = reader.u32()
        end = reader.offset + byte_length
        if section == _IMPORTS:
            _read_imports(reader, summary)
        elif section == _MEMORIES:
            limits = [_read_limits(reader) for _ in range(reader.u32())]
            summary.index64 |= any(one.index64 for one in limits)
        elif section == _EXPORTS:
            _read_exports(reader, exported)
        elif section == _CUSTOM and reader.name() == "name":
            _read_function_names(Reader(wasm[reader.offset : end], 0), summary.names)
        reader.offset = end
    summary.names = exported | summary.names
    return summary


def _read_imports(reader: Reader, summary: ModuleSummary) -> None:
    imports = []
    for _ in range(reader.u32()):
        name = f"{reader.name()}.{reader.name()}"
        kind = reader.byte()
        limits = None
        if kind == _FUNCTION:
            reader.u32()
            summary.imported_function_count += 1
        elif kind == _TABLE:
            reader.byte()
            _read_limits(reader)
        elif kind == _MEMORY:
            limits = _read_limits(reader)
            summary.index64 |= limits.index64
        elif kind == _GLOBAL:
            reader.byte()
            reader.byte()
        imports.append(Import(name, limits))
    summary.imports = tuple(imports)


def _read_limits(reader: Reader) -> MemoryLimits:
    flags = reader.u32()
    minimum = reader.u32()
    maximum = reader.u32() if flags & _HAS_MAXIMUM else None
    return MemoryLimits(minimum, maximum, bool(flags & _SHARED), bool(flags & _INDEX64))


def _read_exports(reader: Reader, exported: dict[int, str]) -> None:
    for _ in range(reader.u32()):
        name = reader.name()
        kind, index = reader.byte(), reader.u32()
        if kind == _FUNCTION:
            exported.setdefault(index, name)


def _read_function_names(reader: Reader, names: dict[int, str]) -> None:
    """Names of functions, from a section that nobody has validated.

    Spec: https://webassembly.github.io/spec/core/appendix/custom.html#name-section
    """
    try:
        while not reader.at_end:
            subsection, byte_length = reader.byte(), reader.u32()
            end = reader.offset + byte_length
            if subsection == _FUNCTION_NAMES:
                for _ in range(reader.u32()):
                    index = reader.u32()
                    names[index] = reader.name()
            reader.offset = end
    except IndexError:
        return


class Reader:
    """Reads numbers and names at ``offset``; beyond the end, or of an endless one, IndexError."""

    def __init__(self, data: bytes, offset: int) -> None:
        self._data = data
        self.offset = offset

    @property
    def at_end(self) -> bool:
        """Whether nothing is left."""
        return self.offset >= len(self._data)

    def byte(self) -> int:
        """One byte."""
        value = self._data[self.offset]
        self.offset += 1
        return value

    def u32(self) -> int:
        """An unsigned LEB128 number, of 32 bits or, as a limit of a 64-bit memory, of 64."""
        value = 0
        for shift in range(0, _MAX_NUMBER_BIT_LENGTH, 7):  # a longer one would take long to read
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise IndexError(self.offset)

    def name(self) -> str:
        """A name behind its length."""
        byte_length = self.u32()
        raw = self._data[self.offset : self.offset + byte_length]
        if len(raw) < byte_length:
            raise IndexError(self.offset)
        self.offset += byte_length
        return raw.decode("utf-8", "replace")
