"""Arithmetic, comparison and conversion of floats."""

from __future__ import annotations

import numpy as np

from simd_ops.cases import F32, F64, I32, U32, Array, Case, Group, on

__all__ = ["GROUPS"]


def _f32(*values: float) -> Array:
    return np.resize(np.array(values, F32), 4)


def _f64(*values: float) -> Array:
    return np.resize(np.array(values, F64), 2)


_COUNTING = np.arange(1, 65, dtype=F32)
_COUNTING_F64 = np.arange(1, 65, dtype=F64)
_LARGE = np.arange(2**30, 2**30 + 64 * 2**20, 2**20, dtype=I32)

# Multiplying by a power of two is exact: fused or not, the results are the same.
_MUL_ADD = on(F32, lambda v, y, z, _: v * y + z)
_MUL_ADD_F64 = on(F64, lambda v, y, z, _: v * y + z)
_NEGATED = on(F32, lambda v, y, z, _: z - v * y)
_CLAMP = on(F32, lambda v, y, z, _: np.maximum(np.minimum(v, y), z))
_FLOOR = on(F32, lambda v, _y, z, _m: np.floor(v) + z)
_NEAREST = on(F32, lambda v, _y, z, _m: np.rint(v) + z)
_DIVIDE = on(F32, lambda v, y, z, _: y / (v + z))
_ROOT = on(F32, lambda v, _y, z, _m: np.sqrt(v + z))
_ABS = on(F32, lambda v, y, _z, _m: np.abs(v) + y)
_BELOW = on(F32, lambda v, y, z, _: np.where(v < y, v, np.float32(0)) + z)

_MUL_ADD_STEP = "(f32x4.add (f32x4.mul {v} {y}) {z})"
_ACTIVATION = "activation"
_SELECTED_CLAMP = Case(
    "lt + bitselect, twice",
    "(v128.bitselect {z} (local.tee {t} (v128.bitselect {y} {v} (f32x4.lt {y} {v})))"
    " (f32x4.lt (local.get {t}) {z}))",
    _CLAMP,
)


def _clamp(names: str, low: str, high: str, matmul: str = "") -> Group:
    case = Case(f"{low} + {high}", f"(f32x4.{high} (f32x4.{low} {{v}} {{y}}) {{z}})", _CLAMP)
    return Group(names, case, _SELECTED_CLAMP, _COUNTING, _f32(30, 50), _f32(5, 9), matmul)


_ARITHMETIC = [
    Group(
        "f32x4.mul, f32x4.add",
        Case("mul + add", _MUL_ADD_STEP, _MUL_ADD, lanes=4),
        Case("f32.mul + f32.add", "(f32.add (f32.mul {v} {y}) {z})", _MUL_ADD, "f32"),
        _COUNTING,
        _f32(-0.5),
        _f32(3, 5, -2, 7),
        "f32 multiply-add",
    ),
    Group(
        "f32x4.relaxed_madd",
        Case("relaxed_madd", "(f32x4.relaxed_madd {v} {y} {z})", _MUL_ADD),
        Case("f32x4.mul + f32x4.add", _MUL_ADD_STEP, _MUL_ADD),
        _COUNTING,
        _f32(-0.5),
        _f32(3, 5, -2, 7),
        "f32 multiply-add",
    ),
    Group(
        "f32x4.relaxed_nmadd",
        Case("relaxed_nmadd", "(f32x4.relaxed_nmadd {v} {y} {z})", _NEGATED),
        Case("f32x4.mul + f32x4.sub", "(f32x4.sub {z} (f32x4.mul {v} {y}))", _NEGATED),
        _COUNTING,
        _f32(0.5),
        _f32(3, 5, -2, 7),
    ),
    Group(
        "f64x2.mul, f64x2.add",
        Case("mul + add", "(f64x2.add (f64x2.mul {v} {y}) {z})", _MUL_ADD_F64, lanes=2),
        Case("f64.mul + f64.add", "(f64.add (f64.mul {v} {y}) {z})", _MUL_ADD_F64, "f64"),
        _COUNTING_F64,
        _f64(-0.5),
        _f64(3, 5),
    ),
    Group(
        "f64x2.relaxed_madd",
        Case("relaxed_madd", "(f64x2.relaxed_madd {v} {y} {z})", _MUL_ADD_F64),
        Case("f64x2.mul + f64x2.add", "(f64x2.add (f64x2.mul {v} {y}) {z})", _MUL_ADD_F64),
        _COUNTING_F64,
        _f64(-0.5),
        _f64(3, 5),
    ),
    Group(
        "f32x4.div",
        Case("add + div", "(f32x4.div {y} (f32x4.add {v} {z}))", _DIVIDE, lanes=4),
        Case("f32.add + f32.div", "(f32.div {y} (f32.add {v} {z}))", _DIVIDE, "f32"),
        _COUNTING,
        _f32(6, 7, 8, 9),
        _f32(1),
    ),
    Group(
        "f32x4.sqrt",
        Case("sqrt + add", "(f32x4.sqrt (f32x4.add {v} {z}))", _ROOT, lanes=4),
        Case("f32.sqrt + f32.add", "(f32.sqrt (f32.add {v} {z}))", _ROOT, "f32"),
        _COUNTING,
        _f32(0),
        _f32(2),
    ),
    Group(
        "f32x4.floor",
        Case("floor + add", "(f32x4.add (f32x4.floor {v}) {z})", _FLOOR, lanes=4),
        Case("f32.floor + f32.add", "(f32.add (f32.floor {v}) {z})", _FLOOR, "f32"),
        _COUNTING,
        _f32(0),
        _f32(0.5),
    ),
    Group(
        "f32x4.nearest",
        Case("nearest + add", "(f32x4.add (f32x4.nearest {v}) {z})", _NEAREST, lanes=4),
        Case("f32.nearest + f32.add", "(f32.add (f32.nearest {v}) {z})", _NEAREST, "f32"),
        _COUNTING,
        _f32(0),
        _f32(0.25),
    ),
    Group(
        "f32x4.abs",
        Case("abs + add", "(f32x4.add (f32x4.abs {v}) {y})", _ABS),
        Case(
            "v128.and with a constant + add",
            f"(f32x4.add (v128.and {{v}} (v128.const i32x4{' 0x7fffffff' * 4})) {{y}})",
            _ABS,
        ),
        _COUNTING,
        _f32(-40),
    ),
]

_COMPARISONS = [
    _clamp("f32x4.pmin, f32x4.pmax", "pmin", "pmax", _ACTIVATION),
    _clamp("f32x4.min, f32x4.max", "min", "max", _ACTIVATION),
    _clamp("f32x4.relaxed_min, f32x4.relaxed_max", "relaxed_min", "relaxed_max", _ACTIVATION),
    Group(
        "f32x4.lt",
        Case(
            "lt + v128.and + add",
            "(f32x4.add (v128.and (f32x4.lt {v} {y}) {v}) {z})",
            _BELOW,
            lanes=4,
        ),
        Case(
            "f32.lt + select + f32.add",
            "(f32.add (select {v} (f32.const 0) (f32.lt {v} {y})) {z})",
            _BELOW,
            "f32",
        ),
        _COUNTING,
        _f32(100),
        _f32(1),
    ),
]

_INTEGRAL = on(F32, lambda v, _y, z, _m: np.trunc(v) + z)
_INTEGRAL_F64 = on(F64, lambda v, _y, z, _m: np.trunc(v) + z)
_FROM_I32 = on(I32, lambda v, _y, _z, _m: v.astype(F32))
_FROM_U32 = on(U32, lambda v, _y, _z, _m: v.astype(F32))
_THROUGH_F32 = on(F64, lambda v, y, _z, _m: (v + y).astype(F32).astype(F64))


def _truncation(sign: str, relaxed: bool) -> Group:
    def step(prefix: str) -> str:
        return f"(f32x4.add (f32x4.convert_i32x4_{sign} (i32x4.{prefix}_f32x4_{sign} {{v}})) {{z}})"

    exact = Case(f"trunc_sat_{sign} + convert + add", step("trunc_sat"), _INTEGRAL, lanes=4)
    values = (_COUNTING, _f32(0), _f32(0.75))
    if relaxed:
        fast = Case(f"relaxed_trunc_{sign} + convert + add", step("relaxed_trunc"), _INTEGRAL)
        plain = Case(exact.words, exact.step, _INTEGRAL)
        return Group(f"i32x4.relaxed_trunc_f32x4_{sign}", fast, plain, *values)
    scalar = f"(f32.add (f32.convert_i32_{sign} (i32.trunc_sat_f32_{sign} {{v}})) {{z}})"
    plain = Case(f"scalar trunc_sat_{sign} + convert + add", scalar, _INTEGRAL, "f32")
    return Group(f"i32x4.trunc_sat_f32x4_{sign}", exact, plain, *values)


def _truncation_f64(relaxed: bool) -> Group:
    def step(prefix: str) -> str:
        words = f"i32x4.{prefix}_f64x2_s_zero"
        return f"(f64x2.add (f64x2.convert_low_i32x4_s ({words} {{v}})) {{z}})"

    exact = Case("trunc_sat_zero + convert_low + add", step("trunc_sat"), _INTEGRAL_F64, lanes=2)
    values = (_COUNTING_F64, _f64(0), _f64(0.75))
    if relaxed:
        words = "relaxed_trunc_zero + convert_low + add"
        fast = Case(words, step("relaxed_trunc"), _INTEGRAL_F64)
        plain = Case(exact.words, exact.step, _INTEGRAL_F64)
        return Group("i32x4.relaxed_trunc_f64x2_s_zero", fast, plain, *values)
    scalar = "(f64.add (f64.convert_i32_s (i32.trunc_sat_f64_s {v})) {z})"
    plain = Case("scalar trunc_sat + convert + add", scalar, _INTEGRAL_F64, "f64")
    return Group("i32x4.trunc_sat_f64x2_s_zero", exact, plain, *values)


_CONVERSIONS = [
    Group(
        "f32x4.convert_i32x4_s",
        Case("convert_s", "(f32x4.convert_i32x4_s {v})", _FROM_I32, lanes=4),
        Case("scalar convert_s", "(i32.reinterpret_f32 (f32.convert_i32_s {v}))", _FROM_I32, "i32"),
        _LARGE,
        _f32(0),
    ),
    Group(
        "f32x4.convert_i32x4_u",
        Case("convert_u", "(f32x4.convert_i32x4_u {v})", _FROM_U32, lanes=4),
        Case("scalar convert_u", "(i32.reinterpret_f32 (f32.convert_i32_u {v}))", _FROM_U32, "i32"),
        _LARGE,
        _f32(0),
    ),
    _truncation("s", relaxed=False),
    _truncation("u", relaxed=False),
    _truncation("s", relaxed=True),
    _truncation("u", relaxed=True),
    _truncation_f64(relaxed=False),
    _truncation_f64(relaxed=True),
    Group(
        "f32x4.demote_f64x2_zero, f64x2.promote_low_f32x4",
        Case(
            "add + demote + promote",
            "(f64x2.promote_low_f32x4 (f32x4.demote_f64x2_zero (f64x2.add {v} {y})))",
            _THROUGH_F32,
            lanes=2,
        ),
        Case(
            "scalar add + demote + promote",
            "(f64.promote_f32 (f32.demote_f64 (f64.add {v} {y})))",
            _THROUGH_F32,
            "f64",
        ),
        _COUNTING_F64,
        _f64(0.1),
    ),
]

GROUPS = [*_ARITHMETIC, *_COMPARISONS, *_CONVERSIONS]
