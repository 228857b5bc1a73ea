"""The instructions of the dialect, as tables.

Spec: https://webassembly.github.io/spec/core/appendix/index-instructions.html
"""

from __future__ import annotations

from iree_wasm_hal_wasm3.validation.module import F32, F64, I32, I64

__all__ = ["BINARY", "LOADS", "NAMES", "OPERAND", "RESULT", "SATURATING", "STORES", "UNARY"]

_TYPES = {"i": I32, "I": I64, "f": F32, "F": F64}

# First opcode, operand type, result type, and the names of consecutive opcodes.
_UNARY = (
    (0x45, "i", "i", "i32.eqz"),
    (0x50, "I", "i", "i64.eqz"),
    (0x67, "i", "i", "i32.clz i32.ctz i32.popcnt"),
    (0x79, "I", "I", "i64.clz i64.ctz i64.popcnt"),
    (0x8B, "f", "f", "f32.abs f32.neg f32.ceil f32.floor f32.trunc f32.nearest f32.sqrt"),
    (0x99, "F", "F", "f64.abs f64.neg f64.ceil f64.floor f64.trunc f64.nearest f64.sqrt"),
    (0xA7, "I", "i", "i32.wrap_i64"),
    (0xA8, "f", "i", "i32.trunc_f32_s i32.trunc_f32_u"),
    (0xAA, "F", "i", "i32.trunc_f64_s i32.trunc_f64_u"),
    (0xAC, "i", "I", "i64.extend_i32_s i64.extend_i32_u"),
    (0xAE, "f", "I", "i64.trunc_f32_s i64.trunc_f32_u"),
    (0xB0, "F", "I", "i64.trunc_f64_s i64.trunc_f64_u"),
    (0xB2, "i", "f", "f32.convert_i32_s f32.convert_i32_u"),
    (0xB4, "I", "f", "f32.convert_i64_s f32.convert_i64_u"),
    (0xB6, "F", "f", "f32.demote_f64"),
    (0xB7, "i", "F", "f64.convert_i32_s f64.convert_i32_u"),
    (0xB9, "I", "F", "f64.convert_i64_s f64.convert_i64_u"),
    (0xBB, "f", "F", "f64.promote_f32"),
    (0xBC, "f", "i", "i32.reinterpret_f32"),
    (0xBD, "F", "I", "i64.reinterpret_f64"),
    (0xBE, "i", "f", "f32.reinterpret_i32"),
    (0xBF, "I", "F", "f64.reinterpret_i64"),
    (0xC0, "i", "i", "i32.extend8_s i32.extend16_s"),
    (0xC2, "I", "I", "i64.extend8_s i64.extend16_s i64.extend32_s"),
)
_COMPARE = "eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u"
_INTEGER = "add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr"
_FLOAT = "add sub mul div min max copysign"
_BINARY = (
    (0x46, "i", "i", "i32", _COMPARE),
    (0x51, "I", "i", "i64", _COMPARE),
    (0x5B, "f", "i", "f32", "eq ne lt gt le ge"),
    (0x61, "F", "i", "f64", "eq ne lt gt le ge"),
    (0x6A, "i", "i", "i32", _INTEGER),
    (0x7C, "I", "I", "i64", _INTEGER),
    (0x92, "f", "f", "f32", _FLOAT),
    (0xA0, "F", "F", "f64", _FLOAT),
)
# First opcode, value type, and for each opcode its name and the log2 of its alignment's limit.
_LOADS = (
    (0x28, "i", "i32.load:2"),
    (0x29, "I", "i64.load:3"),
    (0x2A, "f", "f32.load:2"),
    (0x2B, "F", "f64.load:3"),
    (0x2C, "i", "i32.load8_s:0 i32.load8_u:0 i32.load16_s:1 i32.load16_u:1"),
    (0x30, "I", "i64.load8_s:0 i64.load8_u:0 i64.load16_s:1 i64.load16_u:1"),
    (0x34, "I", "i64.load32_s:2 i64.load32_u:2"),
)
_STORES = (
    (0x36, "i", "i32.store:2"),
    (0x37, "I", "i64.store:3"),
    (0x38, "f", "f32.store:2"),
    (0x39, "F", "f64.store:3"),
    (0x3A, "i", "i32.store8:0 i32.store16:1"),
    (0x3C, "I", "i64.store8:0 i64.store16:1 i64.store32:2"),
)
_OTHERS = {
    0x00: "unreachable nop block loop if else",
    0x0B: "end br br_if br_table return call call_indirect",
    0x1A: "drop select",
    0x20: "local.get local.set local.tee global.get global.set",
    0x3F: "memory.size memory.grow i32.const i64.const f32.const f64.const",
}

NAMES: dict[int, str] = {}
"""Name of each one-byte opcode."""
OPERAND = bytearray(256)
"""Type that a unary or binary instruction takes, and that of a load's or store's value."""
RESULT = bytearray(256)
"""Type that a unary or binary instruction gives."""
UNARY: list[int] = []
BINARY: list[int] = []
LOADS: dict[int, int] = {}
"""Opcode to the largest alignment, as its log2."""
STORES: dict[int, int] = {}

SATURATING = tuple((operand, result) for result in (I32, I64) for operand in (F32, F32, F64, F64))
"""Operand and result of the opcodes 0xFC 0 to 7, ``trunc_sat``."""


def _fill() -> None:
    for first, operand, result, names in _UNARY:
        for opcode, name in enumerate(names.split(), first):
            NAMES[opcode], OPERAND[opcode], RESULT[opcode] = name, _TYPES[operand], _TYPES[result]
            UNARY.append(opcode)
    for first, operand, result, prefix, names in _BINARY:
        for opcode, name in enumerate(names.split(), first):
            NAMES[opcode] = f"{prefix}.{name}"
            OPERAND[opcode], RESULT[opcode] = _TYPES[operand], _TYPES[result]
            BINARY.append(opcode)
    for table, rows in ((LOADS, _LOADS), (STORES, _STORES)):
        for first, value, names in rows:
            for opcode, entry in enumerate(names.split(), first):
                NAMES[opcode], _, alignment = entry.partition(":")
                OPERAND[opcode], table[opcode] = _TYPES[value], int(alignment)
    for first, names in _OTHERS.items():
        NAMES.update(enumerate(names.split(), first))


_fill()
