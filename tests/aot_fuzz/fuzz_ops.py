"""The instructions that fuzz kernels are made of: opcode, operand types, result type.

The types of registers are finer than wasm's, so that kernels are deterministic by construction:
which bits a NaN has after arithmetic is the engine's choice, hence a value that may hold such a
NaN never reaches an instruction that looks at its bits.

=====  ====================================================================================
``i``  i32
``l``  i64
``f``  f32, a NaN of unknown bits or not
``d``  f64, likewise
``v``  v128 of known bits
``x``  v128 of f32 lanes, some of them maybe NaNs of unknown bits
``y``  v128 of f64 lanes, likewise
``m``  v128 of 32-bit lanes, each all ones or all zeros
``n``  the same for 64-bit lanes
``p``  i32, an address in the region of known bits
``q``  i32, an address in the region of f32 (a lane's first byte)
``r``  i32, an address in the region of f64 (a lane's first byte)
=====  ====================================================================================

An instruction that exists for several of these has a name with a suffix after a colon.
Spec: https://webassembly.github.io/spec/core/binary/instructions.html
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ACCEPTED", "OPS", "POINTER_OF", "UNIT", "VALUE_TYPE", "Op", "named"]

VALUE_TYPE = {
    **dict.fromkeys("ipqr", 0x7F),
    "l": 0x7E,
    "f": 0x7D,
    "d": 0x7C,
    **dict.fromkeys("vxymn", 0x7B),
}
"""The wasm value type of each register type."""

ACCEPTED = {"v": "vmn", "x": "xvmn", "y": "yvmn", "i": "ipqr"}
"""What an operand may be besides its own type: known bits are as good as unknown ones."""

POINTER_OF = {"v": "p", "i": "p", "l": "p", "x": "q", "f": "q", "y": "r", "d": "r"}
"""Where values of a type are stored, so that every byte's meaning is known afterwards."""

_SHAPES = {"i8": "i8x16", "i16": "i16x8", "i32": "i32x4", "i64": "i64x2", "f32": "f32x4"}
_SHAPES["f64"] = "f64x2"

UNIT = {"p": 1, "q": 4, "r": 8}
"""By how many bytes addresses of a region may differ."""


@dataclass(frozen=True, slots=True)
class Op:
    """One instruction.

    Attributes:
        code: The opcode.
        operands: Register types of the operands.
        result: Register type of the result, or "" for a store.
        immediate: ``memory`` (offset), ``lane``, ``shuffle``, ``const``, ``memory lane``, or "".
        width: Bytes accessed, or number of lanes for ``lane``.
        group: What it computes on: ``i8`` to ``f64``, ``scalar``, ``memory``, ``bits``, ...
    """

    code: bytes
    operands: str
    result: str
    immediate: str = ""
    width: int = 0
    group: str = ""


OPS: dict[str, Op] = {}
"""All instructions by name."""


def named(name: str) -> str:
    """The wasm name of an instruction."""
    return name.partition(":")[0]


def _simd(number: int) -> bytes:
    return b"\xfd" + bytes([number & 0x7F | 0x80, number >> 7] if number > 0x7F else [number])


def _add(
    text: str,
    first: int,
    operands: str,
    result: str,
    group: str,
    *,
    prefix: str = "",
    immediate: str = "",
    width: int = 0,
) -> None:
    """Instructions of consecutive opcodes; ``-`` in the text is an opcode left out."""
    for number, name in enumerate(text.split(), first):
        if name != "-":
            code = _simd(number)
            OPS[f"{prefix}{name}"] = Op(code, operands, result, immediate, width, group)


def _scalar(text: str, first: int, operands: str, result: str, prefix: str) -> None:
    for number, name in enumerate(text.split(), first):
        if name != "-":
            OPS[f"{prefix}.{name}"] = Op(bytes([number]), operands, result, group=prefix)


_COMPARISONS = "eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u"
_FLOAT_COMPARISONS = "eq ne lt gt le ge"


def _add_integer_lanes() -> None:
    _add(_COMPARISONS, 35, "vv", "v", "i8", prefix="i8x16.")
    _add(_COMPARISONS, 45, "vv", "v", "i16", prefix="i16x8.")
    _add(_COMPARISONS, 55, "vv", "m", "i32", prefix="i32x4.")
    _add("eq ne lt_s gt_s le_s ge_s", 214, "vv", "n", "i64", prefix="i64x2.")
    for group, first in (("i8", 96), ("i16", 128), ("i32", 160), ("i64", 192)):
        prefix = f"{_SHAPES[group]}."
        _add("abs neg", first, "v", "v", group, prefix=prefix)
        _add("all_true bitmask", first + 3, "v", "i", group, prefix=prefix)
        _add("shl shr_s shr_u", first + 11, "vi", "v", group, prefix=prefix)
        _add("add", first + 14, "vv", "v", group, prefix=prefix)
        _add("sub", first + 17, "vv", "v", group, prefix=prefix)
    _add("i8x16.popcnt", 98, "v", "v", "i8")
    for group, first, extremes in (("i8", 96, 118), ("i16", 128, 150), ("i32", 160, 182)):
        prefix = f"{_SHAPES[group]}."
        _add("min_s min_u max_s max_u", extremes, "vv", "v", group, prefix=prefix)
        if group != "i32":
            _add("add_sat_s add_sat_u - sub_sat_s sub_sat_u", first + 15, "vv", "v", group,
                 prefix=prefix)  # fmt: skip
            _add("avgr_u", first + 27, "vv", "v", group, prefix=prefix)
    _add("i16x8.mul", 149, "vv", "v", "i16")
    _add("i32x4.mul", 181, "vv", "v", "i32")
    _add("i64x2.mul", 213, "vv", "v", "i64")
    _add("i16x8.q15mulr_sat_s", 130, "vv", "v", "i16")
    _add("i32x4.dot_i16x8_s", 186, "vv", "v", "widen")


def _add_changes_of_width() -> None:
    _add("i8x16.narrow_i16x8_s i8x16.narrow_i16x8_u", 101, "vv", "v", "narrow")
    _add("i16x8.narrow_i32x4_s i16x8.narrow_i32x4_u", 133, "vv", "v", "narrow")
    _add("i16x8.extadd_pairwise_i8x16_s i16x8.extadd_pairwise_i8x16_u", 124, "v", "v", "widen")
    _add("i32x4.extadd_pairwise_i16x8_s i32x4.extadd_pairwise_i16x8_u", 126, "v", "v", "widen")
    halves = "low_{0}_s high_{0}_s low_{0}_u high_{0}_u"
    for to, of, extend, extmul in (
        ("i16x8", "i8x16", 135, 156),
        ("i32x4", "i16x8", 167, 188),
        ("i64x2", "i32x4", 199, 220),
    ):
        _add(halves.format(of), extend, "v", "v", "widen", prefix=f"{to}.extend_")
        _add(halves.format(of), extmul, "vv", "v", "widen", prefix=f"{to}.extmul_")


def _add_float_lanes() -> None:
    for group, kind, mask, compare, first in (
        ("f32", "x", "m", 65, 224),
        ("f64", "y", "n", 71, 236),
    ):
        prefix = f"{_SHAPES[group]}."
        _add(_FLOAT_COMPARISONS, compare, kind * 2, mask, group, prefix=prefix)
        _add("abs neg - sqrt", first, kind, kind, group, prefix=prefix)
        _add("add sub mul div min max pmin pmax", first + 4, kind * 2, kind, group, prefix=prefix)
    _add("ceil floor trunc nearest", 103, "x", "x", "f32", prefix="f32x4.")
    _add("ceil floor", 116, "y", "y", "f64", prefix="f64x2.")
    _add("f64x2.trunc", 122, "y", "y", "f64")
    _add("f64x2.nearest", 148, "y", "y", "f64")
    _add("f32x4.demote_f64x2_zero", 94, "y", "x", "convert")
    _add("f64x2.promote_low_f32x4", 95, "x", "y", "convert")
    _add("s u", 248, "x", "v", "convert", prefix="i32x4.trunc_sat_f32x4_")
    _add("s u", 250, "v", "x", "convert", prefix="f32x4.convert_i32x4_")
    _add("s_zero u_zero", 252, "y", "v", "convert", prefix="i32x4.trunc_sat_f64x2_")
    _add("s u", 254, "v", "y", "convert", prefix="f64x2.convert_low_i32x4_")


def _add_lane_access() -> None:
    for number, (group, scalar) in enumerate(
        (("i8", "i"), ("i16", "i"), ("i32", "i"), ("i64", "l"), ("f32", "f"), ("f64", "d")), 15
    ):
        shape = _SHAPES[group]
        vector = {"f": "x", "d": "y"}.get(scalar, "v")
        OPS[f"{shape}.splat"] = Op(_simd(number), scalar, vector, group="splat")
    for name, number, operands, result, lanes in (
        ("i8x16.extract_lane_s", 21, "v", "i", 16),
        ("i8x16.extract_lane_u", 22, "v", "i", 16),
        ("i8x16.replace_lane", 23, "vi", "v", 16),
        ("i16x8.extract_lane_s", 24, "v", "i", 8),
        ("i16x8.extract_lane_u", 25, "v", "i", 8),
        ("i16x8.replace_lane", 26, "vi", "v", 8),
        ("i32x4.extract_lane", 27, "v", "i", 4),
        ("i32x4.replace_lane", 28, "vi", "v", 4),
        ("i64x2.extract_lane", 29, "v", "l", 2),
        ("i64x2.replace_lane", 30, "vl", "v", 2),
        ("f32x4.extract_lane", 31, "x", "f", 4),
        ("f32x4.replace_lane", 32, "xf", "x", 4),
        ("f64x2.extract_lane", 33, "y", "d", 2),
        ("f64x2.replace_lane", 34, "yd", "y", 2),
    ):
        OPS[name] = Op(_simd(number), operands, result, "lane", lanes, "lane")


def _add_bits_and_shuffles() -> None:
    _add("not", 77, "v", "v", "bits", prefix="v128.")
    _add("and andnot or xor", 78, "vv", "v", "bits", prefix="v128.")
    _add("bitselect", 82, "vvv", "v", "bits", prefix="v128.")
    _add("any_true", 83, "v", "i", "bits", prefix="v128.")
    _add("bitselect:x", 82, "xxm", "x", "f32", prefix="v128.")
    _add("bitselect:y", 82, "yyn", "y", "f64", prefix="v128.")
    for mask in "mn":
        _add(f"and:{mask} - or:{mask} xor:{mask}", 78, mask * 2, mask, "mask", prefix="v128.")
        _add(f"not:{mask}", 77, mask, mask, "mask", prefix="v128.")
    OPS["v128.const"] = Op(_simd(12), "", "v", "const", group="const")
    for kind, lane in (("v", 1), ("x", 4), ("y", 8)):
        name = "i8x16.shuffle" + ("" if kind == "v" else f":{kind}")
        OPS[name] = Op(_simd(13), kind * 2, kind, "shuffle", lane, "shuffle")
    _add("i8x16.swizzle", 14, "vv", "v", "swizzle")


def _memory(name: str, number: int, kind: str, width: int, *, store: bool = False) -> None:
    operands = POINTER_OF[kind] + (kind if store else "")
    code = _simd(number)
    OPS[name] = Op(code, operands, "" if store else kind, "memory", width, "memory")


def _add_vector_memory() -> None:
    for number, name, width in (
        (0, "load", 16), (1, "load8x8_s", 8), (2, "load8x8_u", 8), (3, "load16x4_s", 8),
        (4, "load16x4_u", 8), (5, "load32x2_s", 8), (6, "load32x2_u", 8), (7, "load8_splat", 1),
        (8, "load16_splat", 2), (9, "load32_splat", 4), (10, "load64_splat", 8),
        (92, "load32_zero", 4), (93, "load64_zero", 8),
    ):  # fmt: skip
        _memory(f"v128.{name}", number, "v", width)
    for number, name, width in (
        (0, "load", 16), (9, "load32_splat", 4), (10, "load64_splat", 8), (92, "load32_zero", 4),
        (93, "load64_zero", 8),
    ):  # fmt: skip
        _memory(f"v128.{name}:x", number, "x", width)
        if width != 4:
            _memory(f"v128.{name}:y", number, "y", width)
    for kind in "vxy":
        suffix = "" if kind == "v" else f":{kind}"
        _memory(f"v128.store{suffix}", 11, kind, 16, store=True)
        for index, width in enumerate((1, 2, 4, 8)):
            if width < {"v": 1, "x": 4, "y": 8}[kind]:
                continue
            operands = POINTER_OF[kind] + kind
            for verb, first in (("load", 84), ("store", 88)):
                OPS[f"v128.{verb}{8 * width}_lane{suffix}"] = Op(
                    _simd(first + index),
                    operands,
                    kind if verb == "load" else "",
                    "memory lane",
                    width,
                    "memory lane",
                )


def _add_scalar_memory() -> None:
    for name, number, kind, width in (
        ("i32.load", 0x28, "i", 4), ("i64.load", 0x29, "l", 8), ("f32.load", 0x2A, "f", 4),
        ("f64.load", 0x2B, "d", 8), ("i32.load8_s", 0x2C, "i", 1), ("i32.load8_u", 0x2D, "i", 1),
        ("i32.load16_s", 0x2E, "i", 2), ("i32.load16_u", 0x2F, "i", 2),
        ("i64.load8_s", 0x30, "l", 1), ("i64.load8_u", 0x31, "l", 1),
        ("i64.load16_s", 0x32, "l", 2), ("i64.load16_u", 0x33, "l", 2),
        ("i64.load32_s", 0x34, "l", 4), ("i64.load32_u", 0x35, "l", 4),
        ("i32.store", 0x36, "i", 4), ("i64.store", 0x37, "l", 8), ("f32.store", 0x38, "f", 4),
        ("f64.store", 0x39, "d", 8), ("i32.store8", 0x3A, "i", 1), ("i32.store16", 0x3B, "i", 2),
        ("i64.store8", 0x3C, "l", 1), ("i64.store16", 0x3D, "l", 2), ("i64.store32", 0x3E, "l", 4),
    ):  # fmt: skip
        store = ".store" in name
        operands = POINTER_OF[kind] + (kind if store else "")
        result = "" if store else kind
        OPS[name] = Op(bytes([number]), operands, result, "memory", width, "memory")


def _add_scalars() -> None:
    comparisons = "eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u"
    arithmetic = "add sub mul - - - - and or xor shl shr_s shr_u rotl rotr"
    for kind, prefix, compare, first in (("i", "i32", 0x45, 0x67), ("l", "i64", 0x50, 0x79)):
        _scalar("eqz", compare, kind, "i", prefix)
        _scalar(comparisons, compare + 1, kind * 2, "i", prefix)
        _scalar("clz ctz popcnt", first, kind, kind, prefix)
        _scalar(arithmetic, first + 3, kind * 2, kind, prefix)
    for kind, prefix, compare, first in (("f", "f32", 0x5B, 0x8B), ("d", "f64", 0x61, 0x99)):
        _scalar(_FLOAT_COMPARISONS, compare, kind * 2, "i", prefix)
        _scalar("abs neg ceil floor trunc nearest sqrt", first, kind, kind, prefix)
        _scalar("add sub mul div min max", first + 7, kind * 2, kind, prefix)
    for name, number, operand, result in (
        ("i32.wrap_i64", 0xA7, "l", "i"), ("i64.extend_i32_s", 0xAC, "i", "l"),
        ("i64.extend_i32_u", 0xAD, "i", "l"), ("i32.extend8_s", 0xC0, "i", "i"),
        ("i32.extend16_s", 0xC1, "i", "i"), ("i64.extend8_s", 0xC2, "l", "l"),
        ("i64.extend16_s", 0xC3, "l", "l"), ("i64.extend32_s", 0xC4, "l", "l"),
        ("f32.convert_i32_s", 0xB2, "i", "f"), ("f32.convert_i32_u", 0xB3, "i", "f"),
        ("f32.convert_i64_s", 0xB4, "l", "f"), ("f32.convert_i64_u", 0xB5, "l", "f"),
        ("f32.demote_f64", 0xB6, "d", "f"), ("f64.convert_i32_s", 0xB7, "i", "d"),
        ("f64.convert_i32_u", 0xB8, "i", "d"), ("f64.convert_i64_s", 0xB9, "l", "d"),
        ("f64.convert_i64_u", 0xBA, "l", "d"), ("f64.promote_f32", 0xBB, "f", "d"),
        ("f32.reinterpret_i32", 0xBE, "i", "f"), ("f64.reinterpret_i64", 0xBF, "l", "d"),
    ):  # fmt: skip
        OPS[name] = Op(bytes([number]), operand, result, group="scalar convert")
    for number, name in enumerate(
        "i32.{}_f32_s i32.{}_f32_u i32.{}_f64_s i32.{}_f64_u "
        "i64.{}_f32_s i64.{}_f32_u i64.{}_f64_s i64.{}_f64_u".format(*["trunc_sat"] * 8).split()
    ):
        operand, result = "d" if "f64" in name else "f", "l" if name[1:3] == "64" else "i"
        OPS[name] = Op(bytes([0xFC, number]), operand, result, group="scalar convert")


def _add_made_up() -> None:
    """Sequences that count as one instruction; ``fuzz_encode`` writes them."""
    for kind in "ilfdvxymnpqr":
        OPS[f"copy:{kind}"] = Op(b"", kind, kind, group="copy")
    for kind in "ilfdvxy":
        OPS[f"select:{kind}"] = Op(b"\x1b", f"{kind}{kind}i", kind, group="select")
    # All NaNs of a value become one.
    for name, operand, result in (
        ("f32x4.bits", "x", "v"),
        ("f64x2.bits", "y", "v"),
        ("f32.bits", "f", "i"),
        ("f64.bits", "d", "l"),
    ):
        OPS[name] = Op(b"", operand, result, group="made up")
    for kind in "pqr":
        # An address moved by a constant, by a multiple of a counter, and by unknown bits.
        OPS[f"move:{kind}"] = Op(b"", kind, kind, "delta", group="address")
        OPS[f"scale:{kind}"] = Op(b"", f"{kind}i", kind, "delta", group="address")
        OPS[f"index:{kind}"] = Op(b"", f"{kind}i", kind, "delta", group="address")
    # A small number around 0 that only becomes an address by the offset of an access.
    OPS["near zero:p"] = Op(b"", "i", "p", group="address")


def _add_relaxed() -> None:
    for name, number, kind in (("f32x4", 261, "x"), ("f64x2", 263, "y")):
        _add("madd nmadd", number, kind * 3, kind, "relaxed", prefix=f"{name}.relaxed_")
    # Where the specification leaves something open, and wasmtime and wamr-aot do the same on x86.
    # They do not for min and max of a NaN, nor for the dot product that adds.
    _add("i8x16.relaxed_swizzle", 256, "vv", "v", "relaxed rest")
    _add("f32x4_s f32x4_u", 257, "x", "v", "relaxed rest", prefix="i32x4.relaxed_trunc_")
    _add("f64x2_s_zero f64x2_u_zero", 259, "y", "v", "relaxed rest", prefix="i32x4.relaxed_trunc_")
    for number, name in enumerate(("i8x16", "i16x8", "i32x4", "i64x2"), 265):
        mask = "n" if name == "i64x2" else "m"
        _add(f"{name}.relaxed_laneselect", number, "vv" + mask, "v", "relaxed rest")
    _add("relaxed_q15mulr_s relaxed_dot_i8x16_i7x16_s", 273, "vv", "v", "relaxed rest",
         prefix="i16x8.")  # fmt: skip


_add_integer_lanes()
_add_changes_of_width()
_add_float_lanes()
_add_lane_access()
_add_bits_and_shuffles()
_add_vector_memory()
_add_scalar_memory()
_add_scalars()
_add_made_up()
_add_relaxed()
