"""The instruction set of VM bytecode 17.0: opcodes, mnemonics and operand encodings.

Each row holds the first opcode of a run, the operand encodings all of the run share, and the
mnemonics in opcode order. Encodings, in the order of the bytes after the opcode:

=========  ====================================================================================
``i``      register read: i32 (u16 ordinal); likewise ``I`` i64, ``f`` f32, ``F`` f64
``>i``     register written, of the same types
``r``      ref register read that must not be moved from
``R``      ref register read, which the move bit empties
``>R``     ref register written
``#i``     literal: i32 (4 bytes), ``#I`` i64 (8), ``#f`` f32 (4), ``#F`` f64 (8)
``g``      byte offset of a global (u32), ``gr`` ordinal of a global ref (u32)
``rodata`` ordinal of a rodata segment (u32), ``type`` ordinal in the type table (u32)
``func``   ordinal of a function (u32), top bit set for an import
``str``    u16 length and that many bytes
``*i``     u16-aligned u16 count and registers read; ``*I *f *F *R``; ``*`` of any type
``>*``     the same, registers written
``sizes``  u16-aligned u16 count and u16 sizes of variadic segments
``pc``     branch target: byte offset of a block in the function (u32)
``moves``  u16-aligned u16 count and (source, target) register pairs
``cases``  u16 count and that many ``pc moves``
=========  ====================================================================================

Little-endian, unaligned but for the lists. Spec: iree/vm/bytecode/isa/isa.json (facts only).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

__all__ = [
    "BLOCK",
    "IMPORT_BIT",
    "INSTRUCTION_SETS",
    "MAX_I32_REGISTERS",
    "MAX_REF_REGISTERS",
    "MOVE_BIT",
    "PREFIXES",
    "REF_BIT",
    "VERSION_MAJOR",
    "VERSION_MINOR",
    "Opcode",
]

VERSION_MAJOR = 17
VERSION_MINOR = 0

REF_BIT = 0x8000
"""Set in a register ordinal of the ref bank."""
MOVE_BIT = 0x4000
"""Set in a ref register ordinal whose register is left null."""
IMPORT_BIT = 0x80000000
MAX_I32_REGISTERS = 0x7FFF
MAX_REF_REGISTERS = 0x3FFF

_Rows = tuple[tuple[int, str, str], ...]

_CORE: _Rows = (
    (0, "g >i", "global.load.i32"),
    (1, "g i", "global.store.i32"),
    (2, "i >i", "global.load.indirect.i32"),
    (3, "i i", "global.store.indirect.i32"),
    (4, "g >I", "global.load.i64"),
    (5, "g I", "global.store.i64"),
    (6, "i >I", "global.load.indirect.i64"),
    (7, "i I", "global.store.indirect.i64"),
    (8, "gr type >R", "global.load.ref"),
    (9, "gr type R", "global.store.ref"),
    (10, "i type >R", "global.load.indirect.ref"),
    (11, "i type R", "global.store.indirect.ref"),
    (12, ">i", "const.i32.zero"),
    (13, "#i >i", "const.i32"),
    (14, ">I", "const.i64.zero"),
    (15, "#I >I", "const.i64"),
    (16, ">R", "const.ref.zero"),
    (17, "rodata >R", "const.ref.rodata"),
    (18, "type i >R", "list.alloc"),
    (19, "r i", "list.reserve"),
    (20, "r >i", "list.size"),
    (21, "r i", "list.resize"),
    (22, "r i >i", "list.get.i32"),
    (23, "r i i", "list.set.i32"),
    (24, "r i >I", "list.get.i64"),
    (25, "r i I", "list.set.i64"),
    (26, "r i type >R", "list.get.ref"),
    (27, "r i R", "list.set.ref"),
    (28, "i i i >i", "select.i32"),
    (29, "i I I >I", "select.i64"),
    (30, "i type R R >R", "select.ref"),
    (31, "i i *i >i", "switch.i32"),
    (32, "i I *I >I", "switch.i64"),
    (33, "i type R *R >R", "switch.ref"),
    (34, "i i >i", "add.i32 sub.i32 mul.i32 div.i32.s div.i32.u rem.i32.s rem.i32.u"),
    (41, "i i i >i", "fma.i32"),
    (42, "I I >I", "add.i64 sub.i64 mul.i64 div.i64.s div.i64.u rem.i64.s rem.i64.u"),
    (49, "I I I >I", "fma.i64"),
    (50, "i >i", "not.i32"),
    (51, "i i >i", "and.i32 or.i32 xor.i32"),
    (54, "I >I", "not.i64"),
    (55, "I I >I", "and.i64 or.i64 xor.i64"),
    (58, "i i >i", "shl.i32 shr.i32.s shr.i32.u"),
    (61, "I i >I", "shl.i64 shr.i64.s shr.i64.u"),
    (64, "i >i", "trunc.i32.i8 trunc.i32.i16"),
    (66, "I >i", "trunc.i64.i32"),
    (67, "i >i", "ext.i8.i32.s ext.i8.i32.u ext.i16.i32.s ext.i16.i32.u"),
    (71, "i >I", "ext.i32.i64.s ext.i32.i64.u"),
    (73, "i i >i", "cmp.eq.i32 cmp.ne.i32 cmp.lt.i32.s cmp.lt.i32.u"),
    (77, "i >i", "cmp.nz.i32"),
    (78, "I I >i", "cmp.eq.i64 cmp.ne.i64 cmp.lt.i64.s cmp.lt.i64.u"),
    (82, "I >i", "cmp.nz.i64"),
    (83, "r r >i", "cmp.eq.ref cmp.ne.ref"),
    (85, "r >i", "cmp.nz.ref"),
    (86, "pc moves", "br"),
    (87, "i pc moves pc moves", "cond_br"),
    (88, "func * >*", "call"),
    (89, "func sizes * >*", "call.variadic"),
    (90, "*", "return"),
    (91, "i str", "fail"),
    (92, "func >i", "import.resolved"),
    (93, "pc moves", "yield"),
    (94, "str *", "trace print"),
    (96, "i pc moves", "cond_break"),
    (97, "pc moves", "break"),
    (98, "r I >i", "buffer.load.i8.u buffer.load.i8.s buffer.load.i16.u buffer.load.i16.s"),
    (102, "r I >i", "buffer.load.i32"),
    (103, "r I >I", "buffer.load.i64"),
    (104, "r I i", "buffer.store.i8 buffer.store.i16 buffer.store.i32"),
    (107, "r I I", "buffer.store.i64"),
    (108, "I i >R", "buffer.alloc"),
    (109, "r I I i >R", "buffer.clone"),
    (110, "r >I", "buffer.length"),
    (111, "r I r I I", "buffer.copy"),
    (112, "r I r I I >i", "buffer.compare"),
    (113, "r I I i", "buffer.fill.i8 buffer.fill.i16 buffer.fill.i32"),
    (116, "r I I I", "buffer.fill.i64"),
    (117, "i >i", "ctlz.i32"),
    (118, "I >I", "ctlz.i64"),
    (119, "i >i", "abs.i32"),
    (120, "I >I", "abs.i64"),
    (121, "", "block"),
    (122, "i i >i", "min.i32.s min.i32.u max.i32.s max.i32.u"),
    (126, "I I >I", "min.i64.s min.i64.u max.i64.s max.i64.u"),
    (130, "R type >R", "cast.any.ref"),
    (131, "i pc moves cases", "br_table"),
    (132, "r I I >I", "buffer.hash"),
    (133, "*", "discard.refs"),
    (134, "R >R", "assign.ref"),
    (135, "func * pc >*", "call.yieldable"),
    (136, "func sizes * pc >*", "call.variadic.yieldable"),
    (224, "", "prefix.ext_f32 prefix.ext_f64"),
)

_EXT_F32: _Rows = (
    (0, "g >f", "global.load.f32"),
    (1, "g f", "global.store.f32"),
    (2, "i >f", "global.load.indirect.f32"),
    (3, "i f", "global.store.indirect.f32"),
    (4, ">f", "const.f32.zero"),
    (5, "#f >f", "const.f32"),
    (6, "r i >f", "list.get.f32"),
    (7, "r i f", "list.set.f32"),
    (8, "i f f >f", "select.f32"),
    (9, "i f *f >f", "switch.f32"),
    (10, "f f >f", "add.f32 sub.f32 mul.f32 div.f32 rem.f32"),
    (15, "f f f >f", "fma.f32"),
    (16, "f >f", "abs.f32 neg.f32 ceil.f32 floor.f32"),
    (20, "i >f", "cast.si32.f32 cast.ui32.f32"),
    (22, "f >i", "cast.f32.si32 cast.f32.ui32"),
    (24, "i >f", "bitcast.i32.f32"),
    (25, "f >i", "bitcast.f32.i32"),
    (26, "f >f", "atan.f32"),
    (27, "f f >f", "atan2.f32"),
    (28, "f >f", "cos.f32 sin.f32 exp.f32 exp2.f32 expm1.f32"),
    (33, "f >f", "log.f32 log10.f32 log1p.f32 log2.f32"),
    (37, "f f >f", "pow.f32"),
    (38, "f >f", "rsqrt.f32 sqrt.f32 tanh.f32 erf.f32"),
    (42, "f f >i", "cmp.eq.f32.o cmp.eq.f32.u cmp.ne.f32.o cmp.ne.f32.u"),
    (46, "f f >i", "cmp.lt.f32.o cmp.lt.f32.u cmp.lte.f32.o cmp.lte.f32.u"),
    (50, "f >i", "cmp.nan.f32"),
    (51, "r I >f", "buffer.load.f32"),
    (52, "r I f", "buffer.store.f32"),
    (53, "r I I f", "buffer.fill.f32"),
    (54, "f >f", "round.f32"),
    (55, "f f >f", "min.f32 max.f32"),
    (57, "f >f", "round.f32.even"),
    (58, "f >I", "cast.f32.si64 cast.f32.ui64"),
    (60, "I >f", "cast.si64.f32 cast.ui64.f32"),
)

_EXT_F64: _Rows = (
    (0, "g >F", "global.load.f64"),
    (1, "g F", "global.store.f64"),
    (2, "i >F", "global.load.indirect.f64"),
    (3, "i F", "global.store.indirect.f64"),
    (4, ">F", "const.f64.zero"),
    (5, "#F >F", "const.f64"),
    (6, "r i >F", "list.get.f64"),
    (7, "r i F", "list.set.f64"),
    (8, "i F F >F", "select.f64"),
    (9, "i F *F >F", "switch.f64"),
    (10, "F F >F", "add.f64 sub.f64 mul.f64 div.f64 rem.f64"),
    (15, "F F F >F", "fma.f64"),
    (16, "F >F", "abs.f64 neg.f64 ceil.f64 floor.f64"),
    (20, "F >f", "trunc.f64.f32"),
    (21, "f >F", "ext.f32.f64"),
    (22, "i >F", "cast.si32.f64 cast.ui32.f64"),
    (24, "F >i", "cast.f64.si32 cast.f64.ui32"),
    (26, "I >F", "cast.si64.f64 cast.ui64.f64"),
    (28, "F >I", "cast.f64.si64 cast.f64.ui64"),
    (30, "I >F", "bitcast.i64.f64"),
    (31, "F >I", "bitcast.f64.i64"),
    (32, "F >F", "atan.f64"),
    (33, "F F >F", "atan2.f64"),
    (34, "F >F", "cos.f64 sin.f64 exp.f64 exp2.f64 expm1.f64"),
    (39, "F >F", "log.f64 log10.f64 log1p.f64 log2.f64"),
    (43, "F F >F", "pow.f64"),
    (44, "F >F", "rsqrt.f64 sqrt.f64 tanh.f64 erf.f64"),
    (48, "F F >i", "cmp.eq.f64.o cmp.eq.f64.u cmp.ne.f64.o cmp.ne.f64.u"),
    (52, "F F >i", "cmp.lt.f64.o cmp.lt.f64.u cmp.lte.f64.o cmp.lte.f64.u"),
    (56, "F >i", "cmp.nan.f64"),
    (57, "r I >F", "buffer.load.f64"),
    (58, "r I F", "buffer.store.f64"),
    (59, "r I I F", "buffer.fill.f64"),
    (60, "F >F", "round.f64"),
    (61, "F F >F", "min.f64 max.f64"),
    (63, "F >F", "round.f64.even"),
)

_TERMINATORS = frozenset(
    (
        "br",
        "cond_br",
        "br_table",
        "return",
        "fail",
        "yield",
        "break",
        "cond_break",
        "call.yieldable",
        "call.variadic.yieldable",
    )
)


@dataclass(frozen=True, slots=True)
class Opcode:
    """One instruction of the set."""

    instruction_set: str
    code: int
    mnemonic: str
    operands: tuple[str, ...]
    """Encodings, as in the module docstring."""
    is_terminator: bool


def _expand(name: str, rows: _Rows) -> MappingProxyType[int, Opcode]:
    table: dict[int, Opcode] = {}
    for first, operands, mnemonics in rows:
        for code, mnemonic in enumerate(mnemonics.split(), first):
            assert code not in table
            table[code] = Opcode(
                name, code, mnemonic, tuple(operands.split()), mnemonic in _TERMINATORS
            )
    return MappingProxyType(table)


INSTRUCTION_SETS = MappingProxyType(
    {
        "core": _expand("core", _CORE),
        "ext_f32": _expand("ext_f32", _EXT_F32),
        "ext_f64": _expand("ext_f64", _EXT_F64),
    }
)
"""Opcodes by set name and code."""

PREFIXES = MappingProxyType({224: "ext_f32", 225: "ext_f64"})
"""Core opcodes that are followed by an opcode of another set."""

BLOCK = 121
"""Opcode of the marker that begins every block."""

assert sum(map(len, INSTRUCTION_SETS.values())) == 265
