"""Element and data segments; wasm3 has active ones only.

Spec: https://webassembly.github.io/spec/core/binary/modules.html#element-section
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal_wasm3.validation.constants import read_constant
from iree_wasm_hal_wasm3.validation.module import I32, ElementSegment

if TYPE_CHECKING:
    from iree_wasm_hal_wasm3.validation.module import ModuleInfo
    from iree_wasm_hal_wasm3.validation.reader import Reader

__all__ = ["read_section_data", "read_section_elements"]


def read_section_elements(reader: Reader, module: ModuleInfo) -> None:
    """The element section."""
    for _ in range(reader.count("segments")):
        if reader.u8() != 0:
            raise reader.failure("an element segment of a form that wasm3 does not have")
        if not module.tables:
            raise reader.failure("there is no table")
        offset = read_constant(reader, module, I32)
        number = reader.count("elements")
        for _ in range(number):
            index = reader.u32()
            if index >= len(module.functions):
                raise reader.failure(f"function {index} of {len(module.functions)}")
        module.elements.append(ElementSegment(offset, number))


def read_section_data(reader: Reader, module: ModuleInfo) -> int:
    """The data section; how many segments it has."""
    segment_count = reader.count("segments")
    for _ in range(segment_count):
        if reader.u8() != 0:
            raise reader.failure("a data segment of a form that wasm3 does not have")
        if not module.memories:
            raise reader.failure("there is no memory")
        read_constant(reader, module, I32)
        reader.take(reader.u32())
    return segment_count
