"""Bytecode made by hand: encodings of opcodes, and a module for them to be decoded in."""

from __future__ import annotations

from typing import Any

from iree_wasm_hal.vm.instructions import Bounds, decode_function
from iree_wasm_hal.vm.isa import INSTRUCTION_SETS, PREFIXES, Opcode

I32_COUNT, REF_COUNT = 8, 4
BOUNDS = Bounds(
    type_count=3,
    rodata_count=5,
    import_count=2,
    function_count=4,
    global_byte_length=24,
    global_ref_count=2,
)
REF, MOVE, IMPORT = 0x8000, 0x4000, 0x80000000
U16, U32 = "<H", "<I"

OPCODES = [
    opcode
    for table in INSTRUCTION_SETS.values()
    for opcode in table.values()
    if opcode.mnemonic != "block" and not opcode.mnemonic.startswith("prefix")
]


def opcode_bytes(opcode: Opcode) -> bytes:
    prefix = [code for code, name in PREFIXES.items() if name == opcode.instruction_set]
    return bytes([*prefix, opcode.code])


def decode(data: bytes, **options: Any) -> Any:
    options = {"i32_count": I32_COUNT, "ref_count": REF_COUNT, "requirements": 3, **options}
    return decode_function(memoryview(data), BOUNDS, **options)
