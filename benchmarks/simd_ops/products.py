"""Widening products, dot products, pairwise sums, extension and narrowing of integers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simd_ops.cases import I8, I16, I32, U8, U16, Array, Case, Group, on
from simd_ops.integers import random_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["GROUPS"]

_V, _Y, _Z = random_bytes(256, 4), random_bytes(16, 5), random_bytes(16, 6)
_SEVEN_BITS = _Y & 127
"""Second operand of the relaxed dot products, for which all engines agree."""


def _wide(dtype: np.dtype[np.generic]) -> np.dtype[np.generic]:
    return np.dtype(f"<{dtype.kind}{2 * dtype.itemsize}")


def _halves(array: Array) -> tuple[Array, Array]:
    half = array.shape[-1] // 2
    return array[..., :half], array[..., half:]


def _pairs(array: Array) -> Array:
    total: Array = array[..., 0::2] + array[..., 1::2]
    return total


def _products(dtype: np.dtype[np.generic], v: Array, y: Array) -> Array:
    wide = _wide(dtype)
    product: Array = v.view(dtype).astype(wide) * y.view(dtype).astype(wide)
    return product


def _bytes(array: Array) -> Array:
    return np.ascontiguousarray(array).view(np.uint8)


def _extmul(narrow: str, wide: str, dtype: np.dtype[np.generic], sign: str, use: str = "") -> Group:
    """Both halves of the product of the state and the state xor y, so that no operand is fixed."""

    def multiplied(half: str, other: str) -> str:
        return f"({wide}.extmul_{half}_{narrow}_{sign} {{v}} {other})"

    def extended(half: str, other: str) -> str:
        extend = f"{wide}.extend_{half}_{narrow}_{sign}"
        return f"({wide}.mul ({extend} {{v}}) ({extend} {other}))"

    def both(product: Callable[[str, str], str]) -> str:
        low = product("low", "(local.tee {t} (v128.xor {v} {y}))")
        return f"(v128.xor {low} {product('high', '(local.get {t})')})"

    def reference(v: Array, y: Array, _z: Array, _m: Array) -> Array:
        low, high = _halves(_products(dtype, v, v ^ y))
        return _bytes(low ^ high)

    return Group(
        f"{wide}.extmul_low_{narrow}_{sign}, {wide}.extmul_high_{narrow}_{sign}",
        Case("extmul_low, extmul_high + 2 xor", both(multiplied), reference),
        Case(f"4 extends, 2 {wide}.mul + 2 xor", both(extended), reference),
        _V,
        _Y,
        matmul=use,
    )


_EXTMUL = [
    _extmul("i8x16", "i16x8", I8, "s", "int8 products"),
    _extmul("i8x16", "i16x8", U8, "u"),
    _extmul("i16x8", "i32x4", I16, "s", "int16 products"),
    _extmul("i16x8", "i32x4", U16, "u"),
    _extmul("i32x4", "i64x2", I32, "s"),
]


def _dot(v: Array, y: Array, z: Array, _m: Array) -> Array:
    return _bytes(_pairs(_products(I16, v, y)) + z.view(I32))


def _dot_by_halves(v: Array, y: Array, z: Array, _m: Array) -> Array:
    low, high = _halves(_products(I16, v, y))
    return _bytes(low + high + z.view(I32))


def _dot8(v: Array, y: Array, z: Array, _m: Array) -> Array:
    return _bytes(_pairs(_products(I8, v, y)) + z.view(I16))


def _dot8_by_halves(v: Array, y: Array, z: Array, _m: Array) -> Array:
    low, high = _halves(_products(I8, v, y))
    return _bytes(low + high + z.view(I16))


def _dot8_add(v: Array, y: Array, z: Array, _m: Array) -> Array:
    pairs = _pairs(_products(I8, v, y)).astype(I32)
    return _bytes(_pairs(pairs) + z.view(I32))


def _dot8_add_by_halves(v: Array, y: Array, z: Array, _m: Array) -> Array:
    low, high = _halves(_products(I8, v, y).astype(I32))
    return _bytes(_pairs(low) + _pairs(high) + z.view(I32))


def _dot_of_extended(v: Array, y: Array, z: Array, _m: Array) -> Array:
    low, high = _halves(v.view(I8).astype(I32))
    return _bytes(_pairs(low * y.view(I16)) + _pairs(high * z.view(I16)))


def _extmul_pair(wide: str, narrow: str) -> str:
    return f"({wide}.extmul_low_{narrow}_s {{v}} {{y}}) ({wide}.extmul_high_{narrow}_s {{v}} {{y}})"


_PAIRWISE_PRODUCTS = (
    "(i32x4.add (i32x4.add"
    " (i32x4.extadd_pairwise_i16x8_s (i16x8.extmul_low_i8x16_s {v} {y}))"
    " (i32x4.extadd_pairwise_i16x8_s (i16x8.extmul_high_i8x16_s {v} {y}))) {z})"
)

_DOTS = [
    Group(
        "i32x4.dot_i16x8_s",
        Case("dot + i32x4.add", "(i32x4.add (i32x4.dot_i16x8_s {v} {y}) {z})", _dot),
        Case(
            "extmul_low, extmul_high, 2 i32x4.add",
            f"(i32x4.add (i32x4.add {_extmul_pair('i32x4', 'i16x8')}) {{z}})",
            _dot_by_halves,
        ),
        _V,
        _Y,
        _Z,
        "int16 dot product",
    ),
    Group(
        "i32x4.dot_i16x8_s of extended int8",
        Case(
            "2 extends, 2 dots, i32x4.add",
            "(i32x4.add (i32x4.dot_i16x8_s (i16x8.extend_low_i8x16_s {v}) {y})"
            " (i32x4.dot_i16x8_s (i16x8.extend_high_i8x16_s {v}) {z}))",
            _dot_of_extended,
        ),
        Case("2 extmul, 2 extadd_pairwise, 2 i32x4.add", _PAIRWISE_PRODUCTS, _dot8_add_by_halves),
        _V,
        _Y,
        _Z,
        "int8 dot product",
    ),
    Group(
        "i16x8.relaxed_dot_i8x16_i7x16_s",
        Case(
            "relaxed_dot + i16x8.add",
            "(i16x8.add (i16x8.relaxed_dot_i8x16_i7x16_s {v} {y}) {z})",
            _dot8,
        ),
        Case(
            "extmul_low, extmul_high, 2 i16x8.add",
            f"(i16x8.add (i16x8.add {_extmul_pair('i16x8', 'i8x16')}) {{z}})",
            _dot8_by_halves,
        ),
        _V,
        _SEVEN_BITS,
        _Z,
        "int8 dot product",
    ),
    Group(
        "i32x4.relaxed_dot_i8x16_i7x16_add_s",
        Case(
            "relaxed_dot_add",
            "(i32x4.relaxed_dot_i8x16_i7x16_add_s {v} {y} {z})",
            _dot8_add,
        ),
        Case("2 extmul, 2 extadd_pairwise, 2 i32x4.add", _PAIRWISE_PRODUCTS, _dot8_add_by_halves),
        _V,
        _SEVEN_BITS,
        _Z,
        "int8 dot product",
    ),
]

_ROUNDED = on(I16, lambda v, y, _z, _m: _round_q15(v, y))


def _round_q15(v: Array, y: Array) -> Array:
    product = (v.astype(I32) * y.astype(I32) + 0x4000) >> 15
    rounded: Array = np.clip(product, -32768, 32767).astype(I16)
    return rounded


def _rounded_half(half: str) -> str:
    product = f"(i32x4.extmul_{half}_i16x8_s {{v}} {{y}})"
    rounding = f"(v128.const i32x4{' 0x4000' * 4})"
    return f"(i32x4.shr_s (i32x4.add {product} {rounding}) (i32.const 15))"


_Q15_Y = np.linspace(30000, 32767, 8).astype(I16)
_Q15 = Case("q15mulr_sat", "(i16x8.q15mulr_sat_s {v} {y})", _ROUNDED)
_ROUNDING = [
    Group(
        "i16x8.q15mulr_sat_s",
        _Q15,
        Case(
            "2 extmul, 2 adds, 2 shr_s, narrow",
            f"(i16x8.narrow_i32x4_s {_rounded_half('low')} {_rounded_half('high')})",
            _ROUNDED,
        ),
        _V,
        _Q15_Y,
        matmul="requantisation",
    ),
    Group(
        "i16x8.relaxed_q15mulr_s",
        Case("relaxed_q15mulr", "(i16x8.relaxed_q15mulr_s {v} {y})", _ROUNDED),
        _Q15,
        _V,
        _Q15_Y,
        matmul="requantisation",
    ),
]


def _extadd(narrow: str, wide: str, dtype: np.dtype[np.generic], sign: str, use: str = "") -> Group:
    bits = 8 * dtype.itemsize
    shift = f"(i32.const {bits})"
    if sign == "s":
        words = "shl, 2 shr_s, 2 adds"
        even = f"({wide}.shr_s ({wide}.shl {{v}} {shift}) {shift})"
    else:
        words = "and, shr_u, 2 adds"
        count = int(wide.partition("x")[2])
        even = f"(v128.and {{v}} (v128.const {wide}{f' {2**bits - 1}' * count}))"
    wide_dtype = _wide(dtype)

    def reference(v: Array, y: Array, _z: Array, _m: Array) -> Array:
        return _bytes(_pairs(v.view(dtype).astype(wide_dtype)) + y.view(wide_dtype))

    return Group(
        f"{wide}.extadd_pairwise_{narrow}_{sign}",
        Case(
            "extadd_pairwise + add",
            f"({wide}.add ({wide}.extadd_pairwise_{narrow}_{sign} {{v}}) {{y}})",
            reference,
        ),
        Case(
            words,
            f"({wide}.add ({wide}.add {even} ({wide}.shr_{sign} {{v}} {shift})) {{y}})",
            reference,
        ),
        _V,
        _Y,
        matmul=use,
    )


def _extend(narrow: str, wide: str, dtype: np.dtype[np.generic], sign: str) -> Group:
    size = dtype.itemsize
    indexes = " ".join(
        str(size * lane + byte) for lane in range(8 // size) for byte in [*range(size)] * 2
    )
    shift = f"(i32.const {8 * size})"
    wide_dtype = _wide(dtype)

    def reference(v: Array, y: Array, _z: Array, _m: Array) -> Array:
        return _bytes(_halves(v.view(dtype))[0].astype(wide_dtype) + y.view(wide_dtype))

    return Group(
        f"{wide}.extend_low_{narrow}_{sign}",
        Case(
            "extend_low + add",
            f"({wide}.add ({wide}.extend_low_{narrow}_{sign} {{v}}) {{y}})",
            reference,
        ),
        Case(
            f"shuffle, shr_{sign} + add",
            f"({wide}.add ({wide}.shr_{sign} (i8x16.shuffle {indexes} {{v}} {{v}}) {shift}) {{y}})",
            reference,
        ),
        _V,
        _Y,
    )


def _narrow(wide: str, narrow: str, dtype: np.dtype[np.generic], sign: str, use: str = "") -> Group:
    """The state and the state xor y narrowed; plainly: clamped, then every second lane taken."""
    bits = 4 * dtype.itemsize
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if sign == "s" else (0, (1 << bits) - 1)
    narrow_dtype = np.dtype(f"<{'i' if sign == 's' else 'u'}{dtype.itemsize // 2}")
    lanes = int(wide.partition("x")[2])
    size = dtype.itemsize // 2
    indexes = " ".join(
        str(lane * dtype.itemsize + byte) for lane in range(2 * lanes) for byte in range(size)
    )

    def splat(value: int) -> str:
        return f"(v128.const {wide}{f' {value}' * lanes})"

    def clamped(operand: str) -> str:
        return f"({wide}.max_s ({wide}.min_s {operand} {splat(high)}) {splat(low)})"

    def reference(v: Array, y: Array, _z: Array, _m: Array) -> Array:
        both = np.concatenate([v.view(dtype), (v ^ y).view(dtype)], axis=-1)
        return _bytes(np.clip(both, low, high).astype(narrow_dtype))

    other = "(v128.xor {v} {y})"
    return Group(
        f"{narrow}.narrow_{wide}_{sign}",
        Case("narrow + xor", f"({narrow}.narrow_{wide}_{sign} {{v}} {other})", reference),
        Case(
            "2 min_s, 2 max_s, shuffle + xor",
            f"(i8x16.shuffle {indexes} {clamped('{v}')} {clamped(other)})",
            reference,
        ),
        _V,
        _Y,
        matmul=use,
    )


_WIDTHS = [
    _extadd("i8x16", "i16x8", I8, "s", "int8 sums"),
    _extadd("i8x16", "i16x8", U8, "u"),
    _extadd("i16x8", "i32x4", I16, "s", "int16 sums"),
    _extadd("i16x8", "i32x4", U16, "u"),
    _extend("i8x16", "i16x8", I8, "s"),
    _extend("i8x16", "i16x8", U8, "u"),
    _extend("i16x8", "i32x4", I16, "s"),
    _narrow("i16x8", "i8x16", I16, "s", "requantisation"),
    _narrow("i16x8", "i8x16", I16, "u"),
    _narrow("i32x4", "i16x8", I32, "s", "requantisation"),
    _narrow("i32x4", "i16x8", I32, "u"),
]

GROUPS = [*_EXTMUL, *_DOTS, *_ROUNDING, *_WIDTHS]
