"""Constant expressions: one constant, or one imported global.

Spec: https://webassembly.github.io/spec/core/valid/instructions.html#constant-expressions
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal_wasm3.validation.module import F32, F64, I32, I64, TYPE_NAMES

if TYPE_CHECKING:
    from iree_wasm_hal_wasm3.validation.module import ModuleInfo
    from iree_wasm_hal_wasm3.validation.reader import Reader

__all__ = ["read_constant"]

_GLOBAL_GET, _END = 0x23, 0x0B


def read_constant(reader: Reader, module: ModuleInfo, expected: int) -> int | None:
    """Checks a constant expression of a type.

    Returns:
        Its value if it is an integer constant, else None.
    """
    opcode = reader.u8()
    value: int | None = None
    if opcode == 0x41:
        found, value = I32, reader.signed(32)
    elif opcode == 0x42:
        found, value = I64, reader.signed(64)
    elif opcode == 0x43:
        found = F32
        reader.take(4)
    elif opcode == 0x44:
        found = F64
        reader.take(8)
    elif opcode == _GLOBAL_GET:
        found = _imported_global(reader, module)
    else:
        raise reader.failure(f"opcode {opcode:#04x} in a constant expression")
    if found != expected:
        msg = f"constant of type {TYPE_NAMES[found]}; expected {TYPE_NAMES[expected]}"
        raise reader.failure(msg)
    if reader.u8() != _END:
        raise reader.failure("a constant expression of more than one instruction")
    return value


def _imported_global(reader: Reader, module: ModuleInfo) -> int:
    index = reader.u32()
    if index >= module.imported_global_count or module.globals[index].mutable:
        raise reader.failure(f"global {index} is not imported or not immutable")
    return module.globals[index].value_type
