"""A wasm module as a list of sections, read and written.

Spec: https://webassembly.github.io/spec/core/binary/modules.html#sections
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from iree_wasm_hal.errors import LimitError, MalformedWasmError
from iree_wasm_hal.wasm.binary import Reader, encode_name, encode_uleb128

__all__ = [
    "MAX_MODULE_BYTE_LENGTH",
    "Section",
    "SectionId",
    "read_sections",
    "write_module",
]

MAX_MODULE_BYTE_LENGTH = 64 << 20
"""Largest module that is looked at; the largest of a real model so far has 1 MiB."""
_MAX_SECTION_COUNT = 1000
_HEADER = b"\0asm\x01\0\0\0"


class SectionId(IntEnum):
    """Section ids; the value is not the order, see `_ORDER`."""

    CUSTOM = 0
    TYPE = 1
    IMPORT = 2
    FUNCTION = 3
    TABLE = 4
    MEMORY = 5
    GLOBAL = 6
    EXPORT = 7
    START = 8
    ELEMENT = 9
    CODE = 10
    DATA = 11
    DATA_COUNT = 12
    TAG = 13


# Order in which the non-custom sections stand in a module.
_ORDER = {
    section_id: position
    for position, section_id in enumerate(
        (
            *(SectionId.TYPE, SectionId.IMPORT, SectionId.FUNCTION, SectionId.TABLE),
            *(SectionId.MEMORY, SectionId.TAG, SectionId.GLOBAL, SectionId.EXPORT),
            *(SectionId.START, SectionId.ELEMENT, SectionId.DATA_COUNT, SectionId.CODE),
            SectionId.DATA,
        )
    )
}


@dataclass(frozen=True, slots=True)
class Section:
    """One section: where its contents stand in the module.

    Attributes:
        id: Section id.
        name: Name of a custom section, else ``""``.
        start: Byte offset of the contents in the module (after a custom section's name).
        end: Byte offset of their end.
    """

    id: SectionId
    name: str
    start: int
    end: int

    def reader(self, module: bytes) -> Reader:
        """A reader of the contents."""
        what = f"custom section {self.name!r}" if self.name else f"{self.id.name.lower()} section"
        return Reader(module, what, self.start, self.end)


def read_sections(module: bytes) -> list[Section]:
    """Splits a module into sections; checks lengths, ids, order and custom names, not contents.

    Raises:
        MalformedWasmError: Not a wasm module, or cut or shuffled.
        LimitError: Larger than MAX_MODULE_BYTE_LENGTH.
    """
    if len(module) > MAX_MODULE_BYTE_LENGTH:
        raise LimitError(
            f"wasm module has {len(module)} bytes, at most {MAX_MODULE_BYTE_LENGTH} are allowed",
            name="wasm module bytes",
            asked=len(module),
            allowed=MAX_MODULE_BYTE_LENGTH,
        )
    if module[:8] != _HEADER:
        raise MalformedWasmError(
            f"not a wasm module: starts with {module[:8]!r}, expected {_HEADER!r}"
        )
    reader = Reader(module, "section header", len(_HEADER))
    sections: list[Section] = []
    last_position = -1
    while reader.remaining:
        at = reader.offset
        section_id = reader.u8()
        if section_id not in SectionId._value2member_map_:
            raise reader.error(f"unknown section id {section_id}", at)
        contents = reader.sub_reader(reader.uleb128(), f"section with id {section_id}")
        section = Section(SectionId(section_id), "", contents.offset, contents.end)
        if section.id is SectionId.CUSTOM:
            name = contents.name()
            section = Section(section.id, name, contents.offset, contents.end)
        else:
            position = _ORDER[section.id]
            if position <= last_position:
                raise reader.error(f"{section.id.name} section out of order or repeated", at)
            last_position = position
        sections.append(section)
        if len(sections) > _MAX_SECTION_COUNT:
            raise reader.error(f"more than {_MAX_SECTION_COUNT} sections", at)
    return sections


def write_module(sections: list[tuple[SectionId, bytes]]) -> bytes:
    """A module of (id, contents) pairs, in the order given; empty contents are left out.

    A custom section's contents begin with its name (`encode_name`).
    """
    parts = [_HEADER]
    for section_id, contents in sections:
        if contents:
            parts += [bytes([section_id]), encode_uleb128(len(contents)), contents]
    return b"".join(parts)


def custom_section(name: str, contents: bytes) -> tuple[SectionId, bytes]:
    """A custom section for `write_module`."""
    return SectionId.CUSTOM, encode_name(name) + contents
