"""What a module declares, as far as the checks and the plugin need it."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = [
    "F32",
    "F64",
    "I32",
    "I64",
    "TYPE_NAMES",
    "ElementSegment",
    "Export",
    "FunctionFacts",
    "FunctionType",
    "GlobalType",
    "Import",
    "Limits",
    "ModuleInfo",
]

I32, I64, F32, F64 = 0x7F, 0x7E, 0x7D, 0x7C
"""Binary encodings of the value types.

Spec: https://webassembly.github.io/spec/core/binary/types.html#number-types"""

TYPE_NAMES = {I32: "i32", I64: "i64", F32: "f32", F64: "f64", 0: "any", 1: "nothing", 2: "any"}
"""Names for messages; 0 to 2 are the validation algorithm's own."""

FUNCTION, TABLE, MEMORY, GLOBAL = range(4)
"""Kinds of imports and exports.

Spec: https://webassembly.github.io/spec/core/binary/modules.html#import-section"""


@dataclass(frozen=True, slots=True)
class FunctionType:
    """Parameter and result types, as their binary encodings."""

    parameters: bytes
    results: bytes


@dataclass(frozen=True, slots=True)
class Limits:
    """Size range of a memory (pages) or table (elements)."""

    minimum: int
    maximum: int | None


@dataclass(frozen=True, slots=True)
class GlobalType:
    """Type of a global."""

    value_type: int
    mutable: bool


@dataclass(frozen=True, slots=True)
class Import:
    """An import: its two names and its kind."""

    module: str
    name: str
    kind: int


@dataclass(frozen=True, slots=True)
class Export:
    """An export: kind and index."""

    kind: int
    index: int


@dataclass(frozen=True, slots=True)
class ElementSegment:
    """Where an active element segment goes; None if a global decides it."""

    table_offset: int | None
    count: int


@dataclass(frozen=True, slots=True)
class FunctionFacts:
    """What a function's body tells about the stack that calls in it take."""

    frame_slot_count: int
    """Slots that a callee's frame starts above this one's, at the least."""
    loop_depth: int
    calls: bool


@dataclass(slots=True)
class ModuleInfo:
    """Everything that was declared, in the order of the index spaces."""

    types: list[FunctionType] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)
    functions: list[FunctionType] = field(default_factory=list)
    imported_function_count: int = 0
    tables: list[Limits] = field(default_factory=list)
    memories: list[Limits] = field(default_factory=list)
    globals: list[GlobalType] = field(default_factory=list)
    imported_global_count: int = 0
    exports: dict[str, Export] = field(default_factory=dict)
    elements: list[ElementSegment] = field(default_factory=list)
    bodies: list[FunctionFacts] = field(default_factory=list)
    function_names: dict[int, str] = field(default_factory=dict)
    has_start: bool = False
    data_count: int | None = None
    grows_memory_at: int | None = None
    """Byte offset of the first ``memory.grow``."""
    dead_code: list[tuple[int, int]] = field(default_factory=list)
    """Byte ranges of whole instructions that cannot be reached."""
    sections: list[tuple[int, int, int]] = field(default_factory=list)
    """Number, start (of the header) and end of each section that is no custom one."""
