"""The bytecode module FlatBuffer: its tables as dataclasses, and the schema that decodes them.

Spec: iree/schemas/bytecode_module_def.fbs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from typing import TYPE_CHECKING

from iree_wasm_hal.vm.flatbuffer import (
    BYTES,
    STRING,
    Deferred,
    Scalar,
    Struct,
    Table,
    TableField,
    Union,
    UnionVector,
    Vector,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "DEBUG_TABLE",
    "FILE_IDENTIFIER",
    "MODULE_TABLE",
    "VERSION_TABLE",
    "Attr",
    "Dependency",
    "Export",
    "Features",
    "FunctionDescriptor",
    "Import",
    "ModuleDef",
    "ModuleState",
    "RodataSegment",
    "Signature",
]

FILE_IDENTIFIER = b"IREE"


class Features(IntFlag):
    """``FeatureBits``: what a module or function needs of the VM."""

    EXT_F32 = 1
    EXT_F64 = 2
    YIELD = 4
    UNWIND = 8


OPTIONAL_FLAG = 2
"""Bit of ``ModuleDependencyFlagBits`` and ``ImportFlagBits``."""


@dataclass(frozen=True, slots=True)
class Attr:
    """A reflection attribute."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Signature:
    """A function's calling convention and reflection attributes."""

    calling_convention: str
    attrs: tuple[Attr, ...]


@dataclass(frozen=True, slots=True)
class TypeDef:
    """An entry of the type table."""

    full_name: str


@dataclass(frozen=True, slots=True)
class Dependency:
    """A module that must be present."""

    name: str
    minimum_version: int
    flags: int

    @property
    def is_optional(self) -> bool:
        """Whether the module loads without it."""
        return bool(self.flags & OPTIONAL_FLAG)


@dataclass(frozen=True, slots=True)
class Import:
    """An imported function."""

    full_name: str
    signature: Signature | None
    flags: int

    @property
    def is_optional(self) -> bool:
        """Whether it may stay unresolved until it is called."""
        return bool(self.flags & OPTIONAL_FLAG)


@dataclass(frozen=True, slots=True)
class Export:
    """An exported function."""

    local_name: str
    internal_ordinal: int


@dataclass(frozen=True, slots=True)
class RodataSegment:
    """Constant bytes, embedded or after the FlatBuffer."""

    compression_type_type: int
    compression_type: object
    embedded_data: memoryview | None
    external_data_offset: int
    external_data_length: int


@dataclass(frozen=True, slots=True)
class RwdataSegment:
    """Uninitialised bytes; no compiler emits any."""

    byte_size: int


@dataclass(frozen=True, slots=True)
class ModuleState:
    """Sizes of the per-context state."""

    global_bytes_capacity: int
    global_ref_count: int


@dataclass(frozen=True, slots=True)
class FunctionDescriptor:
    """Where a function's bytecode is and what its frame needs."""

    bytecode_offset: int
    bytecode_length: int
    requirements: int
    reserved: int
    block_count: int
    i32_register_count: int
    ref_register_count: int


@dataclass(frozen=True, slots=True)
class Location:
    """A source location; which fields are set depends on its kind."""

    filename: str = ""
    line: int = 0
    column: int = 0
    name: str = ""
    metadata: str = ""
    callee: int = -1
    caller: int = -1
    child_location: int = -1
    locations: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class BytecodeLocation:
    """From a byte offset in a function to an index of the location table."""

    bytecode_offset: int
    location: int


@dataclass(frozen=True, slots=True)
class FunctionSourceMap:
    """Debug data of one function."""

    local_name: str
    locations: tuple[BytecodeLocation, ...]


@dataclass(frozen=True, slots=True)
class DebugDatabase:
    """Debug data of the module."""

    location_table_type: tuple[int, ...]
    location_table: tuple[Location, ...]
    functions: tuple[FunctionSourceMap, ...]


@dataclass(frozen=True, slots=True)
class ModuleDef:
    """A whole bytecode module, all offsets verified."""

    name: str
    version: int
    requirements: int
    attrs: tuple[Attr, ...]
    types: tuple[TypeDef, ...]
    dependencies: tuple[Dependency, ...]
    imported_functions: tuple[Import, ...]
    exported_functions: tuple[Export, ...]
    function_signatures: tuple[Signature, ...]
    rodata_segments: tuple[RodataSegment, ...]
    rwdata_segments: tuple[RwdataSegment, ...]
    module_state: ModuleState | None
    function_descriptors: tuple[FunctionDescriptor, ...]
    bytecode_version: int
    bytecode_data: memoryview | None
    debug_database: Callable[[], DebugDatabase] | None


_I32 = Scalar("i")
_U32 = Scalar("I")
_U64 = Scalar("Q")
_U8 = Scalar("B")


def _table(table_name: str, make: Callable[..., object], /, **fields: object) -> Table:
    return Table(
        table_name,
        make,
        tuple(TableField(key, kind) for key, kind in fields.items()),  # type: ignore[arg-type] # **
    )


_ATTRS = Vector(_table("AttrDef", Attr, key=STRING, value=STRING))
_SIGNATURE = _table("FunctionSignatureDef", Signature, calling_convention=STRING, attrs=_ATTRS)
_TYPE = _table("TypeDef", TypeDef, full_name=STRING)
_DEPENDENCY = _table(
    "ModuleDependencyDef", Dependency, name=STRING, minimum_version=_U32, flags=Scalar("I", 1)
)
_IMPORT = _table(
    "ImportFunctionDef", Import, full_name=STRING, signature=_SIGNATURE, flags=Scalar("I", 1)
)
_EXPORT = _table("ExportFunctionDef", Export, local_name=STRING, internal_ordinal=_I32)
_RODATA = _table(
    "RodataSegmentDef",
    RodataSegment,
    compression_type_type=_U8,
    compression_type=Union({1: _table("UncompressedDataDef", object)}),
    embedded_data=BYTES,
    external_data_offset=_U64,
    external_data_length=_U64,
)
_RWDATA = _table("RwdataSegmentDef", RwdataSegment, byte_size=_I32)
_STATE = _table("ModuleStateDef", ModuleState, global_bytes_capacity=_I32, global_ref_count=_I32)
_LOCATIONS = {
    1: _table("CallSiteLocDef", Location, callee=_I32, caller=_I32),
    2: _table("FileLineColLocDef", Location, filename=STRING, line=_I32, column=_I32),
    3: _table("FusedLocDef", Location, metadata=STRING, locations=Vector(_I32)),
    4: _table("NameLocDef", Location, name=STRING, child_location=_I32),
}
_SOURCE_MAP = _table(
    "FunctionSourceMapDef",
    FunctionSourceMap,
    local_name=STRING,
    locations=Vector(Struct("ii", BytecodeLocation)),
)
DEBUG_TABLE = _table(
    "DebugDatabaseDef",
    DebugDatabase,
    location_table_type=Vector(_U8),
    location_table=UnionVector(_LOCATIONS),
    functions=Vector(_SOURCE_MAP),
)
_DESCRIPTOR = Struct("iiIhhhh", FunctionDescriptor)

MODULE_TABLE = Table(
    "BytecodeModuleDef",
    ModuleDef,
    (
        TableField("name", STRING, required=True),
        TableField("version", _U32),
        TableField("requirements", _U32),
        TableField("attrs", _ATTRS),
        TableField("types", Vector(_TYPE)),
        TableField("dependencies", Vector(_DEPENDENCY)),
        TableField("imported_functions", Vector(_IMPORT)),
        TableField("exported_functions", Vector(_EXPORT)),
        TableField("function_signatures", Vector(_SIGNATURE)),
        TableField("rodata_segments", Vector(_RODATA)),
        TableField("rwdata_segments", Vector(_RWDATA)),
        TableField("module_state", _STATE),
        TableField("function_descriptors", Vector(_DESCRIPTOR)),
        TableField("bytecode_version", _U32),
        TableField("bytecode_data", BYTES),
        TableField("debug_database", Deferred(DEBUG_TABLE)),
    ),
)

_VERSION_SLOT = 13
VERSION_TABLE = Table(
    "BytecodeModuleDef",
    lambda **values: values["bytecode_version"],
    tuple(
        item if slot == _VERSION_SLOT else TableField(f"slot{slot}", Scalar("B"))
        for slot, item in enumerate(MODULE_TABLE.fields[: _VERSION_SLOT + 1])
    ),
)
"""The root table read for nothing but its bytecode version, before anything else is decoded."""
