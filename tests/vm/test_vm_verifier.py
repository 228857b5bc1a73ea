"""The verifier: every operand field at and past its bounds, and the blocks of a function."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from vm_bytecode import BOUNDS, IMPORT, MOVE, OPCODES, REF, U16, U32, decode, opcode_bytes

from iree_wasm_hal.errors import BytecodeError
from iree_wasm_hal.vm.instructions import MAX_FUNCTION_INSTRUCTIONS
from iree_wasm_hal.vm.isa import INSTRUCTION_SETS, PREFIXES, Opcode

if TYPE_CHECKING:
    from collections.abc import Iterator

_WIDTHS = {"i": 4, "f": 4, "I": 8, "F": 8}

# Per register encoding: values that pass and values that do not.
_NARROW = ((0, 7), (8, 0x7FFF, REF, 0xFFFF))
_WIDE = ((0, 6), (1, 5, 7, 8, 0x7FFE, REF | 2))
_REFS = (REF, REF | 3)
_BAD_REFS = (0, 3, REF | 4, REF | 0x3FFF)
_REGISTERS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "i": _NARROW,
    "f": _NARROW,
    "I": _WIDE,
    "F": _WIDE,
    "r": (_REFS, (*_BAD_REFS, REF | MOVE)),
    "R": ((*_REFS, REF | MOVE | 3), (*_BAD_REFS, REF | MOVE | 4, MOVE)),
}
_ORDINALS = {
    "gr": BOUNDS.global_ref_count,
    "rodata": BOUNDS.rodata_count,
    "type": BOUNDS.type_count,
}

Field = tuple[str, tuple[int, ...], tuple[int, ...]]
"""Format, values that pass, values that do not; a list's alignment is format ``align``."""


def _fields(encoding: str, opcode: Opcode) -> list[Field]:  # noqa: PLR0911 # one per encoding
    if encoding.removeprefix(">") in _REGISTERS:
        return [(U16, *_REGISTERS[encoding.removeprefix(">")])]
    if encoding[0] == "#":
        return [({"i": U32, "f": U32, "I": "<Q", "F": "<Q"}[encoding[1]], (0,), ())]
    if encoding == "g":
        width = _WIDTHS[opcode.operands[1][-1]]
        return [(U32, (0, 24 - width), (1, 24 - width + 1, 24, 0x7FFFFFFF, 0xFFFFFFFC))]
    if encoding in _ORDINALS:
        count = _ORDINALS[encoding]
        return [(U32, (0, count - 1), (count, 0x7FFFFFFF, 0xFFFFFFFF))]
    if encoding == "func":
        good = (0, 3, IMPORT, IMPORT | 1)
        return [(U32, good, (4, 0x7FFFFFFF, IMPORT | 2, 0xFFFFFFFF))]
    if encoding == "str":
        return [(U16, (0,), (0xFFFF,))]
    if encoding == "pc":
        return [(U32, (0,), (1, 2, 0x7FFFFFFF, 0xFFFFFFFF))]
    if encoding == "moves":
        source = (U16, (0, 7), (8, 0x7FFF, REF | 4))
        return [("align", (), ()), (U16, (1,), (0xFFFF,)), source, (U16, (0, 7), (8, REF))]
    if encoding == "cases":
        return [(U16, (0,), (0xFFFF,))]
    if encoding == "sizes":
        return [("align", (), ()), (U16, (1,), (0xFFFF,)), (U16, (0, 0xFFFF), ())]
    kind = encoding.removeprefix(">")[1:]
    registers = _REGISTERS[kind] if kind else (((0, 7, *_REFS)), (8, 0x7FFF, REF | 4))
    return [("align", (), ()), (U16, (1,), (0xFFFF,)), (U16, *registers)]


def _function_bytes(opcode: Opcode, values: list[int]) -> bytes:
    data = b"\x79" + opcode_bytes(opcode)
    position = 0
    for encoding in opcode.operands:
        for format_, _, _ in _fields(encoding, opcode):
            if format_ == "align":
                data += b"\0" * (len(data) & 1)
            else:
                data += struct.pack(format_, values[position])
                position += 1
    if not opcode.is_terminator:
        data += b"\x5a" + b"\0" * (len(data) + 1 & 1) + b"\0\0"  # return nothing
    return data


def _variants(opcode: Opcode) -> Iterator[tuple[list[int], bool]]:
    fields = [
        field
        for encoding in opcode.operands
        for field in _fields(encoding, opcode)
        if field[0] != "align"
    ]
    base = [good[0] for _, good, _ in fields]
    yield base, True
    for position, (_, good, bad) in enumerate(fields):
        for value, accepted in [*((v, True) for v in good), *((v, False) for v in bad)]:
            yield [*base[:position], value, *base[position + 1 :]], accepted


@pytest.mark.parametrize("opcode", OPCODES, ids=lambda opcode: opcode.mnemonic)
def test_every_field_at_its_bounds(opcode: Opcode) -> None:
    for values, accepted in _variants(opcode):
        data = _function_bytes(opcode, values)
        if accepted:
            block = decode(data)[0]
            assert block.instructions[0].opcode is opcode
        else:
            with pytest.raises(BytecodeError, match=rf"at byte 1 \({opcode.mnemonic}\): "):
                decode(data)


@pytest.mark.parametrize("opcode", OPCODES, ids=lambda opcode: opcode.mnemonic)
def test_every_instruction_cut_short(opcode: Opcode) -> None:
    data = _function_bytes(opcode, next(_variants(opcode))[0])
    for length in range(1, len(data)):
        with pytest.raises(BytecodeError):
            decode(data[:length])


def test_number_of_directed_cases() -> None:
    assert sum(1 for opcode in OPCODES for _ in _variants(opcode)) > 3200


def test_unassigned_opcodes_are_refused() -> None:
    for name, table in INSTRUCTION_SETS.items():
        prefix = [code for code, target in PREFIXES.items() if target == name]
        for code in set(range(256)) - set(table):
            with pytest.raises(BytecodeError, match=f"opcode {code:#04x} does not exist in {name}"):
                decode(bytes([0x79, *prefix, code]) + bytes(64))


def test_extensions_need_their_feature() -> None:
    add = bytes([0x79, 224, 10]) + bytes(6) + b"\x5a\0\0"
    decode(add, requirements=1)
    with pytest.raises(BytecodeError, match="uses ext_f32, which the function's requirements"):
        decode(add, requirements=2)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "has no blocks"),
        (b"\x5a\0\0\0", "is not in a block"),
        (b"\x79", "last block has no terminator"),
        (b"\x79\x0c\0\0", "last block has no terminator"),
        (b"\x79\x79\x5a\0\0\0", "the block before it has no terminator"),
        (b"\x79\x5a\0\0\x5a\0\0\0", "is not in a block"),
    ],
)
def test_block_structure(data: bytes, message: str) -> None:
    with pytest.raises(BytecodeError, match=message):
        decode(data)


def test_functions_are_bounded() -> None:
    zero = b"\x0c\0\0"
    limit = MAX_FUNCTION_INSTRUCTIONS
    tail = b"\x5a" + b"\0" * ((1 + 3 * (limit - 1) + 1) & 1) + b"\0\0"
    assert len(decode(b"\x79" + zero * (limit - 1) + tail)[0].instructions) == limit
    with pytest.raises(BytecodeError, match="more than 65536 instructions"):
        decode(b"\x79" + zero * limit + tail)
