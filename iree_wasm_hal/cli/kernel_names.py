"""Names of the kernels in an executable, from its name section.

The kernels are the functions in its function table; what the executable says of itself by
``iree_hal_executable_library_query`` would need an engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.wasm.sections import SectionId, read_sections

if TYPE_CHECKING:
    from iree_wasm_hal.wasm.binary import Reader

__all__ = ["kernel_names"]

_FUNCTION_NAMES = 1
"""Subsection of the name section. Spec: core/appendix/custom.html#function-names"""
_END = 0x0B
_MAX_COUNT = 1 << 20


def kernel_names(wasm: bytes) -> list[str]:
    """Names of the functions that are in the function table; those without a name are left out.

    Raises:
        MalformedWasmError: A section that cannot be read.
    """
    names: dict[int, str] = {}
    table: list[int] = []
    for section in read_sections(wasm):
        if section.id is SectionId.ELEMENT:
            table = _table_functions(section.reader(wasm))
        elif section.name == "name":
            names = _function_names(section.reader(wasm))
    return [names[index] for index in table if index in names]


def _function_names(reader: Reader) -> dict[int, str]:
    names = {}
    while reader.remaining:
        kind = reader.u8()
        subsection = reader.sub_reader(reader.uleb128(), "name subsection")
        if kind == _FUNCTION_NAMES:
            for _ in range(subsection.count("function names", _MAX_COUNT)):
                index = subsection.uleb128()
                names[index] = subsection.name()
    return names


def _table_functions(reader: Reader) -> list[int]:
    """Function indices of active segments of table 0, the only kind that kernels have."""
    functions: list[int] = []
    for _ in range(reader.count("element segments", _MAX_COUNT)):
        if reader.uleb128() != 0:
            return functions
        while reader.u8() != _END:  # the offset: one constant instruction with a LEB128 operand
            reader.sleb128(64)
        functions += [reader.uleb128() for _ in range(reader.count("elements", _MAX_COUNT))]
    return functions
