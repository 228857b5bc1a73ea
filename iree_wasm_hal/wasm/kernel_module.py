"""What a kernel module contains, decoded by `kernel_reader`."""

from __future__ import annotations

from dataclasses import dataclass, field

from iree_wasm_hal.wasm.sections import Section, SectionId

__all__ = [
    "ConstantExpression",
    "DataSegment",
    "ElementSegment",
    "Export",
    "FunctionBody",
    "FunctionType",
    "GlobalType",
    "Import",
    "KernelModule",
    "Limits",
]
I32, I64, F32, F64, V128, FUNCREF, EXTERNREF = 0x7F, 0x7E, 0x7D, 0x7C, 0x7B, 0x70, 0x6F
"""Value types by their binary encoding."""


@dataclass(frozen=True, slots=True)
class FunctionType:
    """Parameter and result types, as the bytes of the value types."""

    parameters: bytes
    results: bytes


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a table or memory."""

    minimum: int
    maximum: int | None
    shared: bool
    index64: bool


@dataclass(frozen=True, slots=True)
class GlobalType:
    """Type of a global."""

    value_type: int
    mutable: bool


@dataclass(frozen=True, slots=True)
class Import:
    """An import; ``type`` is a type index, a GlobalType or Limits, by ``kind``."""

    module: str
    name: str
    kind: str
    type: int | GlobalType | Limits


@dataclass(frozen=True, slots=True)
class Export:
    """An export."""

    name: str
    kind: str
    index: int


@dataclass(frozen=True, slots=True)
class ConstantExpression:
    """``global + addend`` or ``addend``, for integers; for other types only the type.

    Attributes:
        value_type: Type of the value.
        global_index: Global that is read, or None.
        addend: Integer constant, not reduced modulo the type's size.
    """

    value_type: int
    global_index: int | None = None
    addend: int = 0


@dataclass(frozen=True, slots=True)
class ElementSegment:
    """An active element segment of function indices."""

    flags: int
    table_index: int
    offset: ConstantExpression
    function_indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DataSegment:
    """A data segment: flags 0 and 2 are active, 1 is passive (no offset)."""

    flags: int
    memory_index: int
    offset: ConstantExpression | None
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class FunctionBody:
    """A function body: where its instructions stand, and its local types."""

    start: int
    code_start: int
    end: int
    local_types: frozenset[int]


@dataclass(slots=True)
class KernelModule:
    """The decoded module."""

    data: bytes
    sections: list[Section]
    types: list[FunctionType] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)
    functions: list[int] = field(default_factory=list)
    globals: list[tuple[GlobalType, ConstantExpression]] = field(default_factory=list)
    exports: list[Export] = field(default_factory=list)
    elements: list[ElementSegment] = field(default_factory=list)
    bodies: list[FunctionBody] = field(default_factory=list)
    data_segments: list[DataSegment] = field(default_factory=list)
    data_count: int | None = None
    _by_kind: dict[str, list[Import]] = field(default_factory=dict)

    def section(self, section_id: SectionId) -> Section | None:
        """The non-custom section with an id, if there is one."""
        return next((s for s in self.sections if s.id is section_id), None)

    def custom_sections(self, name: str) -> list[Section]:
        """The custom sections with a name."""
        return [s for s in self.sections if s.id is SectionId.CUSTOM and s.name == name]

    def add_import(self, entry: Import) -> None:
        """Adds the next import."""
        self.imports.append(entry)
        self._by_kind.setdefault(entry.kind, []).append(entry)

    def imported(self, kind: str) -> list[Import]:
        """The imports of a kind, in index order."""
        return self._by_kind.get(kind, [])
