"""Integer arithmetic, shifts, selection and reductions to a scalar."""

from __future__ import annotations

import numpy as np

from simd_ops.cases import I8, I16, I32, I64, U8, Array, Case, Group, on

__all__ = ["GROUPS", "random_bytes"]


def random_bytes(byte_length: int, seed: int) -> Array:
    """Bytes that every engine and numpy see alike."""
    return np.random.default_rng(seed).integers(0, 256, byte_length, np.uint8)


_V, _Y, _Z = random_bytes(256, 1), random_bytes(16, 2), random_bytes(16, 3)
_SMALL_I32 = np.arange(-20, 44, dtype=I32)


def _splat(shape: str, value: int) -> str:
    count = int(shape.partition("x")[2])
    return f"(v128.const {shape}{f' {value}' * count})"


def _clamp(shape: str, sign: str, dtype: np.dtype[np.generic]) -> Group:
    low, high = np.arange(-20, 12).astype(dtype), np.arange(12, 44).astype(dtype)
    if sign == "u":
        low, high = np.arange(3, 35).astype(dtype), np.arange(100, 132).astype(dtype)
    width = 16 // dtype.itemsize
    reference = on(dtype, lambda v, y, z, _: np.maximum(np.minimum(v, y), z))
    return Group(
        f"{shape}.min_{sign}, {shape}.max_{sign}",
        Case(
            f"min_{sign} + max_{sign}",
            f"({shape}.max_{sign} ({shape}.min_{sign} {{v}} {{y}}) {{z}})",
            reference,
        ),
        Case(
            f"gt_{sign} + bitselect, twice",
            f"(v128.bitselect {{z}} (local.tee {{t}} (v128.bitselect {{y}} {{v}}"
            f" ({shape}.gt_{sign} {{v}} {{y}}))) ({shape}.gt_{sign} {{z}} (local.get {{t}})))",
            reference,
        ),
        _V,
        high[:width],
        low[:width],
    )


def _mul_add(shape: str, scalar: str, dtype: np.dtype[np.generic], matmul: str = "") -> Group:
    scalar_dtype = I64 if scalar == "i64" else I32
    return Group(
        f"{shape}.mul, {shape}.add",
        Case(
            "mul + add",
            f"({shape}.add ({shape}.mul {{v}} {{y}}) {{z}})",
            on(dtype, lambda v, y, z, _: v * y + z),
            lanes=16 // dtype.itemsize,
        ),
        Case(
            f"{scalar}.mul + {scalar}.add",
            f"({scalar}.add ({scalar}.mul {{v}} {{y}}) {{z}})",
            on(scalar_dtype, lambda v, y, z, _: v * y + z),
            scalar,
        ),
        _V,
        _Y,
        _Z,
        matmul,
    )


def _shift(shape: str, scalar: str, dtype: np.dtype[np.generic]) -> Group:
    reference = on(dtype, lambda v, y, _z, _m: (v >> 3) ^ y)
    return Group(
        f"{shape}.shr_s",
        Case(
            "shr_s + xor",
            f"(v128.xor ({shape}.shr_s {{v}} (i32.const 3)) {{y}})",
            reference,
            lanes=16 // dtype.itemsize,
        ),
        Case(
            f"{scalar}.shr_s + {scalar}.xor",
            f"({scalar}.xor ({scalar}.shr_s {{v}} ({scalar}.const 3)) {{y}})",
            reference,
            scalar,
        ),
        _V,
        _Y,
    )


_SHIFTED_BYTES = on(I8, lambda v, y, _z, _m: (v >> 3) ^ y)
_SATURATED = on(
    I8, lambda v, y, _z, _m: np.clip(v.astype(I16) + y.astype(I16), -128, 127).astype(I8)
)
_GREATER = on(I64, lambda v, y, z, _: np.where(v > y, z, v + y))
_ABSOLUTE = on(I64, lambda v, y, _z, _m: np.abs(v) + y)

_ARITHMETIC = [
    _mul_add("i32x4", "i32", I32),
    _mul_add("i16x8", "i32", I16),
    _mul_add("i64x2", "i64", I64),
    _clamp("i32x4", "s", I32),
    _clamp("i16x8", "s", I16),
    _clamp("i8x16", "u", U8),
    Group(
        "i8x16.add_sat_s",
        Case("add_sat_s", "(i8x16.add_sat_s {v} {y})", _SATURATED),
        Case(
            "extend, i16x8.add, narrow",
            "(i8x16.narrow_i16x8_s"
            " (i16x8.add (i16x8.extend_low_i8x16_s {v}) (i16x8.extend_low_i8x16_s {y}))"
            " (i16x8.add (i16x8.extend_high_i8x16_s {v}) (i16x8.extend_high_i8x16_s {y})))",
            _SATURATED,
        ),
        _V,
        _Y,
    ),
    _shift("i32x4", "i32", I32),
    _shift("i64x2", "i64", I64),
    Group(
        "i8x16.shr_s",
        Case("shr_s + xor", "(v128.xor (i8x16.shr_s {v} (i32.const 3)) {y})", _SHIFTED_BYTES),
        Case(
            "i16x8.shr_u, and, xor, i8x16.sub + xor",
            "(v128.xor (i8x16.sub (v128.xor (v128.and (i16x8.shr_u {v} (i32.const 3))"
            f" {_splat('i8x16', 31)}) {_splat('i8x16', 16)}) {_splat('i8x16', 16)}) {{y}})",
            _SHIFTED_BYTES,
        ),
        _V,
        _Y,
    ),
    Group(
        "i64x2.gt_s",
        Case(
            "gt_s + bitselect + add",
            "(v128.bitselect {z} (i64x2.add {v} {y}) (i64x2.gt_s {v} {y}))",
            _GREATER,
            lanes=2,
        ),
        Case(
            "i64.gt_s + select + i64.add",
            "(select {z} (i64.add {v} {y}) (i64.gt_s {v} {y}))",
            _GREATER,
            "i64",
        ),
        _V,
        _Y,
        _Z,
    ),
    Group(
        "i64x2.abs",
        Case("abs + add", "(i64x2.add (i64x2.abs {v}) {y})", _ABSOLUTE, lanes=2),
        Case(
            "i64.shr_s, xor, sub + add",
            "(i64.add (i64.sub (i64.xor {v} (local.tee {t} (i64.shr_s {v} (i64.const 63))))"
            " (local.get {t})) {y})",
            _ABSOLUTE,
            "i64",
        ),
        _V,
        _Y,
    ),
]

_MASK = np.array([-1, 0, 0, -1], I32)
_SELECTED = on(I32, lambda v, y, z, _: np.where(z, v + y, v))
_ADD = "(i32x4.add {v} {y})"


def _laneselect(shape: str) -> Group:
    return Group(
        f"{shape}.relaxed_laneselect",
        Case(
            "relaxed_laneselect + add",
            f"({shape}.relaxed_laneselect {_ADD} {{v}} {{z}})",
            _SELECTED,
        ),
        Case("v128.bitselect + add", f"(v128.bitselect {_ADD} {{v}} {{z}})", _SELECTED),
        _V,
        _Y,
        _MASK,
    )


_SELECTION = [
    Group(
        "v128.bitselect",
        Case("bitselect + add", f"(v128.bitselect {_ADD} {{v}} {{z}})", _SELECTED),
        Case(
            "and, andnot, or + add",
            f"(v128.or (v128.and {_ADD} {{z}}) (v128.andnot {{v}} {{z}}))",
            _SELECTED,
        ),
        _V,
        _Y,
        _MASK,
    ),
    _laneselect("i8x16"),
    _laneselect("i32x4"),
]

_NEXT = on(I32, lambda v, y, _z, _m: v + y)
_LOW = "(i64x2.extract_lane 0 {v})"
_HIGH = "(i64x2.extract_lane 1 {v})"
_MAGIC = "(i64.const 0x02040810204081)"


def _gathered_bits(half: str) -> str:
    """The top bits of 8 bytes, in the low byte."""
    top = f"(i64.and {half} (i64.const 0x8080808080808080))"
    return f"(i64.shr_u (i64.mul {top} {_MAGIC}) (i64.const 56))"


def _bits(dtype: np.dtype[np.generic]) -> Case:
    lanes = 16 // dtype.itemsize
    weights = 1 << np.arange(lanes)
    shape = f"i{dtype.itemsize * 8}x{lanes}"
    return Case(
        "bitmask + i32.add + i32x4.add",
        _ADD,
        _NEXT,
        total=f"({shape}.bitmask {{v}})",
        total_reference=lambda v, _y, _z, _m: (v.view(dtype) < 0) @ weights,
    )


_REDUCTIONS = [
    Group(
        "i8x16.bitmask",
        _bits(I8),
        Case(
            "extract_lane, i64 and, mul, shr + i32.add + i32x4.add",
            _ADD,
            _NEXT,
            total=f"(i32.wrap_i64 (i64.or {_gathered_bits(_LOW)}"
            f" (i64.shl {_gathered_bits(_HIGH)} (i64.const 8))))",
            total_reference=_bits(I8).total_reference,
        ),
        _V,
        _Y,
    ),
    Group(
        "i32x4.bitmask",
        _bits(I32),
        Case(
            "4 times extract_lane, shr, or + i32.add + i32x4.add",
            _ADD,
            _NEXT,
            total="(i32.or (i32.or"
            " (i32.shr_u (i32x4.extract_lane 0 {v}) (i32.const 31))"
            " (i32.and (i32.shr_u (i32x4.extract_lane 1 {v}) (i32.const 30)) (i32.const 2)))"
            " (i32.or"
            " (i32.and (i32.shr_u (i32x4.extract_lane 2 {v}) (i32.const 29)) (i32.const 4))"
            " (i32.and (i32.shr_u (i32x4.extract_lane 3 {v}) (i32.const 28)) (i32.const 8))))",
            total_reference=_bits(I32).total_reference,
        ),
        _V,
        _Y,
    ),
    Group(
        "v128.any_true",
        Case(
            "any_true + i32.add + i32x4.add",
            _ADD,
            _NEXT,
            total="(v128.any_true {v})",
            total_reference=lambda v, _y, _z, _m: v.any(axis=1).astype(I32),
        ),
        Case(
            "extract_lane, i64.or, i64.ne + i32.add + i32x4.add",
            _ADD,
            _NEXT,
            total=f"(i64.ne (i64.or {_LOW} {_HIGH}) (i64.const 0))",
            total_reference=lambda v, _y, _z, _m: v.any(axis=1).astype(I32),
        ),
        _V,
        _Y,
    ),
    Group(
        "i32x4.all_true",
        Case(
            "all_true + i32.add + i32x4.add",
            _ADD,
            _NEXT,
            total="(i32x4.all_true {v})",
            total_reference=lambda v, _y, _z, _m: v.view(I32).all(axis=1).astype(I32),
        ),
        Case(
            "eq, any_true, i32.eqz + i32.add + i32x4.add",
            _ADD,
            _NEXT,
            total=f"(i32.eqz (v128.any_true (i32x4.eq {{v}} {_splat('i32x4', 0)})))",
            total_reference=lambda v, _y, _z, _m: v.view(I32).all(axis=1).astype(I32),
        ),
        _V,
        _Y,
    ),
]

_POPULATION = on(U8, lambda v, y, _z, _m: _count_bits(v) ^ y)


def _count_bits(v: Array) -> Array:
    counts: Array = np.unpackbits(v, axis=-1).reshape(*v.shape, 8).sum(-1).astype(np.uint8)
    return counts


def _counted(nibbles: str) -> str:
    return f"(i8x16.swizzle (v128.const i8x16 0 1 1 2 1 2 2 3 1 2 2 3 2 3 3 4) {nibbles})"


_LOW_NIBBLES = f"(v128.and {{v}} {_splat('i8x16', 15)})"
_HIGH_NIBBLES = f"(v128.and (i16x8.shr_u {{v}} (i32.const 4)) {_splat('i8x16', 15)})"

_BIT_COUNTS = [
    Group(
        "i8x16.popcnt",
        Case("popcnt + xor", "(v128.xor (i8x16.popcnt {v}) {y})", _POPULATION),
        Case(
            "and, shr, 2 swizzles, i8x16.add + xor",
            f"(v128.xor (i8x16.add {_counted(_LOW_NIBBLES)} {_counted(_HIGH_NIBBLES)}) {{y}})",
            _POPULATION,
        ),
        _V,
        _Y,
    ),
]

GROUPS = [*_ARITHMETIC, *_SELECTION, *_REDUCTIONS, *_BIT_COUNTS]
