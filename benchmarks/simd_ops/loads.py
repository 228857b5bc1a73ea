"""Loads and stores of vectors, of lanes and with widening or splatting.

What is loaded is joined to the state by xor, so that every load counts.
"""

from __future__ import annotations

import numpy as np

from simd_ops.cases import I8, I16, I32, I64, Array, Case, Group, Reference, on
from simd_ops.integers import random_bytes

__all__ = ["GROUPS"]

_V, _Y = random_bytes(256, 10), random_bytes(16, 11)
_HERE = "offset={o} {p}"


def _case(words: str, value: str, reference: Reference, lanes: int = 1) -> Case:
    return Case(f"{words} + xor", f"(v128.xor {{v}} {value})", reference, lanes=lanes)


def _splat(shape: str, load: str, use: str = "") -> Group:
    """``v128.loadN_splat`` beside a scalar load and a splat."""
    bits = int(shape[1:].partition("x")[0])
    size = bits // 8

    def reference(v: Array, _y: Array, _z: Array, m: Array) -> Array:
        joined: Array = v ^ np.tile(m[:, :size], 16 // size)
        return joined

    words = f"load{bits}_splat"
    return Group(
        f"v128.{words}",
        _case(words, f"(v128.{words} {_HERE})", reference),
        _case(f"{load}, {shape}.splat", f"({shape}.splat ({load} {_HERE}))", reference),
        _V,
        _Y,
        matmul=use,
    )


def _extend(narrow: str, wide: str, dtype: np.dtype[np.generic], use: str = "") -> Group:
    """``v128.loadNxM_s`` beside a load of 8 bytes and an extension."""
    words = f"load{dtype.itemsize * 8}x{8 // dtype.itemsize}_s"
    wide_dtype = np.dtype(f"<i{2 * dtype.itemsize}")

    def reference(v: Array, _y: Array, _z: Array, m: Array) -> Array:
        widened = np.ascontiguousarray(m[:, :8]).view(dtype).astype(wide_dtype)
        return v ^ widened.view(np.uint8)

    return Group(
        f"v128.{words}",
        _case(words, f"(v128.{words} {_HERE})", reference),
        _case(
            f"load64_zero, {wide}.extend_low",
            f"({wide}.extend_low_{narrow}_s (v128.load64_zero {_HERE}))",
            reference,
        ),
        _V,
        _Y,
        matmul=use,
    )


def _lane(shape: str, load: str, lane: int) -> Group:
    """``v128.loadN_lane`` beside a scalar load and ``replace_lane``."""
    size = int(shape[1:].partition("x")[0]) // 8

    def reference(v: Array, y: Array, _z: Array, m: Array) -> Array:
        joined = v ^ y
        start = lane * size
        joined[:, start : start + size] = v[:, start : start + size] ^ m[:, :size]
        return joined

    words = f"load{8 * size}_lane"
    return Group(
        f"v128.{words}",
        _case(words, f"(v128.{words} offset={{o}} {lane} {{p}} {{y}})", reference),
        _case(
            f"{load}, {shape}.replace_lane",
            f"({shape}.replace_lane {lane} {{y}} ({load} {_HERE}))",
            reference,
        ),
        _V,
        _Y,
    )


def _zero(shape: str, load: str) -> Group:
    """``v128.loadN_zero`` beside a scalar load and ``replace_lane`` of zero."""
    bits = int(shape[1:].partition("x")[0])

    def reference(v: Array, _y: Array, _z: Array, m: Array) -> Array:
        result = v.copy()
        result[:, : bits // 8] ^= m[:, : bits // 8]
        return result

    return Group(
        f"v128.load{bits}_zero",
        _case(f"load{bits}_zero", f"(v128.load{bits}_zero {_HERE})", reference),
        _case(
            f"{load}, {shape}.replace_lane of zero",
            f"({shape}.replace_lane 0 (v128.const i32x4 0 0 0 0) ({load} {_HERE}))",
            reference,
        ),
        _V,
        _Y,
    )


_SUMMED = on(I64, lambda v, _y, _z, m: v ^ m[:, : v.shape[1]])


def _unaligned(v: Array, _y: Array, _z: Array, m: Array) -> Array:
    return v ^ m[:, 4:20]


def _stored(dtype: np.dtype[np.generic], source: slice) -> Reference:
    """The state's bytes ``source`` go to memory, then the state grows by y."""
    grown = on(dtype, lambda v, y, _z, _m: v + y)

    def reference(v: Array, y: Array, z: Array, m: Array) -> Array:
        stored = v[:, source]
        m[:, : stored.shape[1]] = stored
        return grown(v, y, z, m)

    return reference


_WHOLE = [
    Group(
        "v128.load",
        _case("load", f"(v128.load {_HERE})", _SUMMED, lanes=2),
        Case("i64.load + i64.xor", f"(i64.xor {{v}} (i64.load {_HERE}))", _SUMMED, "i64"),
        _V,
        _Y,
        matmul="loading a row",
    ),
    Group(
        "v128.load, unaligned",
        _case("load, 4 bytes past 16", "(v128.load offset={o_4} align=1 {p})", _unaligned),
        _case("load, aligned", f"(v128.load {_HERE})", _SUMMED),
        _V,
        _Y,
    ),
    Group(
        "v128.store",
        Case(
            "store + i64x2.add",
            "(i64x2.add {v} {y})",
            _stored(I64, slice(0, 16)),
            lanes=2,
            store=f"(v128.store {_HERE} {{v}})",
        ),
        Case(
            "i64.store + i64.add",
            "(i64.add {v} {y})",
            _stored(I64, slice(0, 8)),
            "i64",
            store=f"(i64.store {_HERE} {{v}})",
        ),
        _V,
        _Y,
        matmul="storing a row",
    ),
    Group(
        "v128.store32_lane",
        Case(
            "store32_lane + i32x4.add",
            "(i32x4.add {v} {y})",
            _stored(I32, slice(8, 12)),
            store="(v128.store32_lane offset={o} 2 {p} {v})",
        ),
        Case(
            "i32x4.extract_lane, i32.store + i32x4.add",
            "(i32x4.add {v} {y})",
            _stored(I32, slice(8, 12)),
            store=f"(i32.store {_HERE} (i32x4.extract_lane 2 {{v}}))",
        ),
        _V,
        _Y,
    ),
]

GROUPS = [
    *_WHOLE,
    _splat("f32x4", "f32.load", "broadcasting a factor"),
    _splat("i8x16", "i32.load8_u"),
    _splat("i16x8", "i32.load16_u", "broadcasting a factor"),
    _splat("i64x2", "i64.load"),
    _extend("i8x16", "i16x8", I8, "widening int8"),
    _extend("i16x8", "i32x4", I16),
    _extend("i32x4", "i64x2", I32),
    _lane("f32x4", "f32.load", 1),
    _lane("i8x16", "i32.load8_u", 5),
    _lane("i64x2", "i64.load", 1),
    _zero("f32x4", "f32.load"),
    _zero("i64x2", "i64.load"),
]
