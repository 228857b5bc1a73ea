"""Wasm object files as data: as much of them as replacing a function symbol needs.

Spec: https://github.com/WebAssembly/tool-conventions/blob/main/Linking.md
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["has_memory64", "replace_functions"]

_HEADER_BYTE_LENGTH = 8
_CUSTOM_SECTION, _TYPE_SECTION, _IMPORT_SECTION, _ELEMENT_SECTION = 0, 1, 2, 9
_EXTERNAL_FUNCTION, _EXTERNAL_TABLE, _EXTERNAL_MEMORY = 0, 1, 2
_LIMITS_HAVE_MAXIMUM, _LIMITS_INDEX64 = 1, 4
_SYMBOL_TABLE_SUBSECTION = 8
_SYMBOL_FUNCTION, _SYMBOL_DATA, _SYMBOL_SECTION = 0, 1, 3
_FLAG_UNDEFINED, _FLAG_EXPLICIT_NAME = 0x10, 0x40


def _leb(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _sized(data: bytes) -> bytes:
    return _leb(len(data)) + data


class _Cursor:
    """A read position in a byte string; reading past the end raises IndexError."""

    def __init__(self, data: bytes, offset: int = 0) -> None:
        self.data = data
        self.offset = offset

    def byte(self) -> int:
        self.offset += 1
        return self.data[self.offset - 1]

    def leb(self) -> int:
        """An unsigned LEB128 number; skips a signed one right as well."""
        result = shift = 0
        while True:
            byte = self.byte()
            result |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return result

    def sized(self) -> bytes:
        byte_length = self.leb()
        self.offset += byte_length
        if self.offset > len(self.data):
            raise IndexError(f"{byte_length} bytes at {self.offset - byte_length} pass the end")
        return self.data[self.offset - byte_length : self.offset]


@dataclass(frozen=True, slots=True)
class _Symbol:
    kind: int
    flags: int
    name: bytes | None
    index: int = 0
    data_location: bytes = b""

    @property
    def defines_function(self) -> bool:
        return self.kind == _SYMBOL_FUNCTION and not self.flags & _FLAG_UNDEFINED

    def encode(self) -> bytes:
        name = b"" if self.name is None else _sized(self.name)
        head = bytes([self.kind]) + _leb(self.flags)
        if self.kind == _SYMBOL_DATA:
            return head + name + self.data_location
        return head + _leb(self.index) + name


def _read_symbol(cursor: _Cursor) -> _Symbol:
    kind, flags = cursor.byte(), cursor.leb()
    if kind == _SYMBOL_DATA:
        name, start = cursor.sized(), cursor.offset
        if not flags & _FLAG_UNDEFINED:
            for _ in range(3):  # segment, offset, size
                cursor.leb()
        return _Symbol(kind, flags, name, data_location=cursor.data[start : cursor.offset])
    index = cursor.leb()
    has_name = not flags & _FLAG_UNDEFINED or bool(flags & _FLAG_EXPLICIT_NAME)
    name_or_none = cursor.sized() if has_name and kind != _SYMBOL_SECTION else None
    return _Symbol(kind, flags, name_or_none, index)


def _read_symbols(table: bytes) -> list[_Symbol]:
    cursor = _Cursor(table)
    return [_read_symbol(cursor) for _ in range(cursor.leb())]


def _read_sections(wasm: bytes) -> list[tuple[int, bytes]]:
    cursor = _Cursor(wasm, _HEADER_BYTE_LENGTH)
    sections = []
    while cursor.offset < len(wasm):
        section_id = cursor.byte()
        sections.append((section_id, cursor.sized()))
    return sections


def _split_linking(section: bytes) -> tuple[bytes, list[tuple[int, bytes]]]:
    """The "linking" section's head (name and version) and its subsections."""
    cursor = _Cursor(section)
    cursor.sized()
    cursor.leb()
    head, subsections = section[: cursor.offset], []
    while cursor.offset < len(section):
        kind = cursor.byte()
        subsections.append((kind, cursor.sized()))
    return head, subsections


def _scan_imports(section: bytes) -> tuple[int, bool]:
    """Number of imported functions; whether an imported memory has 64-bit addresses."""
    cursor = _Cursor(section)
    function_count, memory64 = 0, False
    for _ in range(cursor.leb()):
        cursor.sized()
        cursor.sized()
        kind = cursor.byte()
        if kind == _EXTERNAL_FUNCTION:
            cursor.leb()
            function_count += 1
        elif kind in (_EXTERNAL_TABLE, _EXTERNAL_MEMORY):
            if kind == _EXTERNAL_TABLE:
                cursor.byte()
            flags = cursor.byte()
            for _ in range(2 if flags & _LIMITS_HAVE_MAXIMUM else 1):
                cursor.leb()
            memory64 |= kind == _EXTERNAL_MEMORY and bool(flags & _LIMITS_INDEX64)
        else:
            cursor.byte()
            cursor.byte()
    return function_count, memory64


def _append(section: bytes, entries: list[bytes]) -> bytes:
    """A section that is a vector, with ``entries`` at its end."""
    cursor = _Cursor(section)
    count = cursor.leb()
    return _leb(count + len(entries)) + section[cursor.offset :] + b"".join(entries)


def _move_elements(section: bytes, function_index: Callable[[int], int]) -> bytes:
    """The element section (active segments of function indices, as LLVM writes it) renumbered."""
    cursor = _Cursor(section)
    count = cursor.leb()
    out = bytearray(_leb(count))
    for _ in range(count):
        start, flags = cursor.offset, cursor.leb()
        if flags not in (0, 2):
            raise ValueError(f"element segment with flags {flags}; expected 0 or 2")
        for _ in range(3 if flags == 0 else 4):  # table index, i32.const, its value, end
            cursor.leb()
        if flags:
            cursor.byte()  # element kind
        out += cursor.data[start : cursor.offset]
        length = cursor.leb()
        out += _leb(length) + b"".join(_leb(function_index(cursor.leb())) for _ in range(length))
    return bytes(out)


def has_memory64(wasm: bytes) -> bool:
    """Whether the object file's code uses 64-bit addresses."""
    return any(_scan_imports(s)[1] for i, s in _read_sections(wasm) if i == _IMPORT_SECTION)


def replace_functions(wasm: bytes, function_types: dict[bytes, bytes]) -> bytes:
    """Turns functions that an object file defines into undefined ones of another type.

    The definitions stay as dead code, which the linker drops. The new imports move the index of
    each defined function; a linker writes all indices in code anew from the relocations, so that
    only the symbol table and the element section have to follow.

    Args:
        wasm: An object file that LLVM wrote.
        function_types: Function name -> its encoded wasm function type.
    """
    sections = _read_sections(wasm)
    contents = {i: s for i, s in sections if i != _CUSTOM_SECTION}
    linking = next((s for i, s in sections if i == 0 and _Cursor(s).sized() == b"linking"), None)
    if linking is None or not {_TYPE_SECTION, _IMPORT_SECTION} <= contents.keys():
        return wasm
    defined = _defined_functions(linking)
    names = [name for name in function_types if name in defined]
    types, imports = contents[_TYPE_SECTION], contents[_IMPORT_SECTION]
    type_count, (import_count, _) = _Cursor(types).leb(), _scan_imports(imports)

    def moved(index: int) -> int:
        return index + len(names) if index >= import_count else index

    new_imports = [
        _sized(b"env") + _sized(name) + bytes([_EXTERNAL_FUNCTION]) + _leb(type_count + i)
        for i, name in enumerate(names)
    ]
    imported = {name: import_count + i for i, name in enumerate(names)}
    rewritten = {
        id(types): _append(types, [function_types[name] for name in names]),
        id(imports): _append(imports, new_imports),
        id(linking): _rewrite_linking(linking, imported, moved),
    }
    if _ELEMENT_SECTION in contents:
        elements = contents[_ELEMENT_SECTION]
        rewritten[id(elements)] = _move_elements(elements, moved)
    return wasm[:_HEADER_BYTE_LENGTH] + b"".join(
        bytes([section_id]) + _sized(rewritten.get(id(section), section))
        for section_id, section in sections
    )


def _defined_functions(linking: bytes) -> set[bytes | None]:
    return {
        symbol.name
        for kind, data in _split_linking(linking)[1]
        if kind == _SYMBOL_TABLE_SUBSECTION
        for symbol in _read_symbols(data)
        if symbol.defines_function
    }


def _rewrite_linking(
    linking: bytes, imported: dict[bytes, int], moved: Callable[[int], int]
) -> bytes:
    """The linking section with the ``imported`` functions undefined and the others renumbered."""

    def rewrite(symbol: _Symbol) -> _Symbol:
        if symbol.defines_function and symbol.name in imported:
            return _Symbol(_SYMBOL_FUNCTION, _FLAG_UNDEFINED, None, imported[symbol.name])
        if symbol.kind == _SYMBOL_FUNCTION:
            return replace(symbol, index=moved(symbol.index))
        return symbol

    head, subsections = _split_linking(linking)
    out = bytearray(head)
    for kind, data in subsections:
        contents = data
        if kind == _SYMBOL_TABLE_SUBSECTION:
            symbols = [rewrite(symbol).encode() for symbol in _read_symbols(data)]
            contents = _leb(len(symbols)) + b"".join(symbols)
        out += bytes([kind]) + _sized(contents)
    return bytes(out)
