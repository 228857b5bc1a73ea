"""Types, imports, globals and exports.

Spec: https://webassembly.github.io/spec/core/binary/modules.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal_wasm3.validation.constants import read_constant
from iree_wasm_hal_wasm3.validation.limits import MAX_PARAMETER_COUNT, MAX_TYPE_COUNT
from iree_wasm_hal_wasm3.validation.module import (
    FUNCTION,
    GLOBAL,
    MEMORY,
    TABLE,
    Export,
    FunctionType,
    GlobalType,
    Import,
    Limits,
)

if TYPE_CHECKING:
    from iree_wasm_hal_wasm3.validation.module import ModuleInfo
    from iree_wasm_hal_wasm3.validation.reader import Reader

__all__ = [
    "read_limits",
    "read_section_exports",
    "read_section_globals",
    "read_section_imports",
    "read_section_types",
]

_FUNCTION_TYPE, _FUNCREF = 0x60, 0x70
_MAX_MEMORY_PAGE_COUNT = 65536
_MAX_TABLE_SIZE = 2**32 - 1


def read_section_types(reader: Reader, module: ModuleInfo) -> None:
    """The type section."""
    type_count = reader.count("types", 3)
    if type_count > MAX_TYPE_COUNT:
        raise reader.failure(f"{type_count} types; wasm3 gets at most {MAX_TYPE_COUNT}")
    for _ in range(type_count):
        form = reader.u8()
        if form != _FUNCTION_TYPE:
            raise reader.failure(f"{form:#04x} is no function type")
        parameters, results = _read_types(reader), _read_types(reader)
        if len(parameters) > MAX_PARAMETER_COUNT:
            msg = f"{len(parameters)} parameters; wasm3 takes at most {MAX_PARAMETER_COUNT}"
            raise reader.failure(msg)
        if len(results) > 1:
            raise reader.failure(f"{len(results)} results; at most one is allowed for wasm3")
        module.types.append(FunctionType(parameters, results))


def read_section_imports(reader: Reader, module: ModuleInfo) -> None:
    """The import section."""
    for _ in range(reader.count("imports", 4)):
        names = reader.name(), reader.name()
        kind = reader.u8()
        if kind == FUNCTION:
            index = reader.u32()
            if index >= len(module.types):
                raise reader.failure(f"type {index} of {len(module.types)}")
            module.functions.append(module.types[index])
        elif kind == TABLE:
            if reader.u8() != _FUNCREF:
                raise reader.failure("the element type is not funcref")
            module.tables.append(read_limits(reader, _MAX_TABLE_SIZE))
        elif kind == MEMORY:
            module.memories.append(read_limits(reader, _MAX_MEMORY_PAGE_COUNT))
        elif kind == GLOBAL:
            module.globals.append(_read_global_type(reader))
        else:
            raise reader.failure(f"unknown kind of import {kind:#04x}")
        module.imports.append(Import(*names, kind))
    if len(module.tables) > 1 or len(module.memories) > 1:
        raise reader.failure("more than one table or memory")
    module.imported_function_count = len(module.functions)
    module.imported_global_count = len(module.globals)


def read_section_globals(reader: Reader, module: ModuleInfo) -> None:
    """The global section."""
    for _ in range(reader.count("globals", 4)):
        global_type = _read_global_type(reader)
        read_constant(reader, module, global_type.value_type)
        module.globals.append(global_type)


def read_section_exports(reader: Reader, module: ModuleInfo) -> None:
    """The export section."""
    counts = {
        FUNCTION: len(module.functions),
        TABLE: len(module.tables),
        MEMORY: len(module.memories),
        GLOBAL: len(module.globals),
    }
    for _ in range(reader.count("exports", 3)):
        name, kind, index = reader.name(), reader.u8(), reader.u32()
        if kind not in counts:
            raise reader.failure(f"unknown kind of export {kind:#04x}")
        if index >= counts[kind]:
            raise reader.failure(f"export {name!r} of index {index}, of which {counts[kind]} exist")
        if name in module.exports:
            raise reader.failure(f"duplicate export name {name!r}")
        module.exports[name] = Export(kind, index)


def read_limits(reader: Reader, greatest: int) -> Limits:
    """The limits of a memory or table."""
    flags = reader.u8()
    if flags > 1:
        raise reader.failure(f"limits of form {flags:#04x}, which wasm3 does not have")
    minimum = reader.u32()
    maximum = reader.u32() if flags else None
    if minimum > greatest or (maximum is not None and not minimum <= maximum <= greatest):
        raise reader.failure(f"size from {minimum} to {maximum}; the largest is {greatest}")
    return Limits(minimum, maximum)


def _read_types(reader: Reader) -> bytes:
    number = reader.count("value types")
    start = reader.take(number)
    types = reader.data[start : start + number]
    if types and not 0x7C <= min(types) <= max(types) <= 0x7F:
        raise reader.failure("a value type that wasm3 does not have")
    return types


def _read_global_type(reader: Reader) -> GlobalType:
    value_type, mutable = reader.u8(), reader.u8()
    if not 0x7C <= value_type <= 0x7F:
        raise reader.failure(f"value type {value_type:#04x}, which wasm3 does not have")
    if mutable > 1:
        raise reader.failure(f"malformed mutability {mutable:#04x}")
    return GlobalType(value_type, bool(mutable))
