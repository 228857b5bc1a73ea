"""Reads a module's sections in their order and checks what they declare.

Spec: https://webassembly.github.io/spec/core/binary/modules.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal_wasm3.validation.declarations import (
    read_limits,
    read_section_exports,
    read_section_globals,
    read_section_imports,
    read_section_types,
)
from iree_wasm_hal_wasm3.validation.failure import InvalidWasmError
from iree_wasm_hal_wasm3.validation.instructions import CodeValidator
from iree_wasm_hal_wasm3.validation.module import ModuleInfo
from iree_wasm_hal_wasm3.validation.names import function_names
from iree_wasm_hal_wasm3.validation.reader import Reader
from iree_wasm_hal_wasm3.validation.segments import read_section_data, read_section_elements

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["validate"]

_HEADER = b"\0asm\1\0\0\0"
_MAX_MEMORY_PAGE_COUNT = 65536
_MAX_TABLE_SIZE = 2**32 - 1
_CUSTOM, _FUNCTION, _CODE, _DATA = 0, 3, 10, 11


def validate(wasm: bytes) -> ModuleInfo:
    """Validates a module for wasm3.

    Args:
        wasm: The binary.

    Returns:
        What the module declares.

    Raises:
        InvalidWasmError: The module is malformed, invalid or beyond wasm3; names the section or
            function, the instruction and the byte offset.
    """
    if wasm[:8] != _HEADER:
        raise InvalidWasmError("no WebAssembly module of version 1: wrong header", 0)
    module = ModuleInfo()
    sections, custom = _split(wasm)
    name_sections = [Reader(wasm, *each, "name section") for each in custom]
    module.function_names = function_names(name_sections)
    declared = _Bodies(module)
    readers = _readers(declared)
    for number, header, start, end in sections:
        name, read = readers[number]
        reader = Reader(wasm, start, end, f"{name} section")
        read(reader, module)
        reader.finish()
        module.sections.append((number, header, end))
    declared.check_counts(len(wasm))
    return module


def _split(wasm: bytes) -> tuple[list[tuple[int, int, int, int]], list[tuple[int, int]]]:
    """Number, header, start and end of each section in order; custom sections apart."""
    sections: list[tuple[int, int, int, int]] = []
    custom: list[tuple[int, int]] = []
    reader = Reader(wasm, len(_HEADER), len(wasm), "module")
    last = 0
    while reader.position < len(wasm):
        header = reader.position
        number = reader.u8()
        byte_length = reader.u32()
        start = reader.take(byte_length)
        if number == _CUSTOM:
            inner = Reader(wasm, start, start + byte_length, "custom section")
            if inner.name() == "name":
                custom.append((inner.position, inner.end))
            continue
        if number not in _ORDER:
            raise InvalidWasmError(f"section {number} is none that wasm3 knows", header)
        if _ORDER[number] <= last:
            raise InvalidWasmError(f"section {number} is out of order or there twice", header)
        last = _ORDER[number]
        sections.append((number, header, start, start + byte_length))
    return sections, custom


# Section 12, the data count, stands before the code.
_ORDER = {number: rank for rank, number in enumerate((1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 10, 11), 1)}


class _Bodies:
    """Function types that were declared, until their bodies come."""

    def __init__(self, module: ModuleInfo) -> None:
        self._module = module
        self._body_count = 0
        self._data_count = 0

    def read_functions(self, reader: Reader, module: ModuleInfo) -> None:
        """The function section: a type for each body."""
        for _ in range(reader.count("functions")):
            index = reader.u32()
            if index >= len(module.types):
                raise reader.failure(f"type {index} of {len(module.types)}")
            module.functions.append(module.types[index])

    def read_code(self, reader: Reader, module: ModuleInfo) -> None:
        """The code section: checks each body."""
        self._body_count = reader.count("bodies")
        self._check_body_count(reader.position)
        validator = CodeValidator(module)
        for index in range(self._body_count):
            byte_length = reader.u32()
            start = reader.take(byte_length)
            function_index = module.imported_function_count + index
            body = Reader(reader.data, start, start + byte_length, f"function {function_index}")
            facts = validator.check(function_index, module.functions[function_index], body)
            module.bodies.append(facts)

    def read_data(self, reader: Reader, module: ModuleInfo) -> None:
        """The data section."""
        self._data_count = read_section_data(reader, module)

    def check_counts(self, byte_length: int) -> None:
        """Checks what two sections say about each other."""
        self._check_body_count(byte_length)
        declared = self._module.data_count
        if declared is not None and declared != self._data_count:
            msg = f"{self._data_count} data segments, but {declared} in the data count section"
            raise InvalidWasmError(msg, byte_length)

    def _check_body_count(self, offset: int) -> None:
        declared = len(self._module.functions) - self._module.imported_function_count
        if declared != self._body_count:
            msg = f"{declared} functions declared, but {self._body_count} bodies"
            raise InvalidWasmError(msg, offset)


def _readers(bodies: _Bodies) -> dict[int, tuple[str, Callable[[Reader, ModuleInfo], None]]]:
    return {
        1: ("type", read_section_types),
        2: ("import", read_section_imports),
        3: ("function", bodies.read_functions),
        4: ("table", _read_tables),
        5: ("memory", _read_memories),
        6: ("global", read_section_globals),
        7: ("export", read_section_exports),
        8: ("start", _read_start),
        9: ("element", read_section_elements),
        12: ("data count", _read_data_count),
        10: ("code", bodies.read_code),
        11: ("data", bodies.read_data),
    }


def _read_tables(reader: Reader, module: ModuleInfo) -> None:
    for _ in range(reader.count("tables", 3)):
        if reader.u8() != 0x70:
            raise reader.failure("the element type is not funcref")
        module.tables.append(read_limits(reader, _MAX_TABLE_SIZE))
    if len(module.tables) > 1:
        raise reader.failure(f"{len(module.tables)} tables; at most one is allowed")


def _read_memories(reader: Reader, module: ModuleInfo) -> None:
    for _ in range(reader.count("memories", 2)):
        module.memories.append(read_limits(reader, _MAX_MEMORY_PAGE_COUNT))
    if len(module.memories) > 1:
        raise reader.failure(f"{len(module.memories)} memories; at most one is allowed")


def _read_start(reader: Reader, module: ModuleInfo) -> None:
    index = reader.u32()
    if index >= len(module.functions):
        raise reader.failure(f"function {index} of {len(module.functions)}")
    if module.functions[index].parameters or module.functions[index].results:
        raise reader.failure(f"function {index} has parameters or results")
    module.has_start = True


def _read_data_count(reader: Reader, module: ModuleInfo) -> None:
    module.data_count = reader.u32()
