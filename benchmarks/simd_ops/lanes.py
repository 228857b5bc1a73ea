"""Moving lanes: shuffle, swizzle, splat, extract and replace."""

from __future__ import annotations

import numpy as np

from simd_ops.cases import F32, U8, Array, Case, Group, on
from simd_ops.integers import random_bytes

__all__ = ["GROUPS"]

_V, _Y, _Z = random_bytes(256, 7), random_bytes(16, 8), random_bytes(16, 9)
_ANY = (11, 30, 5, 16, 2, 23, 14, 9, 31, 0, 19, 7, 28, 13, 4, 26)
_ONE_SOURCE = tuple(index % 16 for index in _ANY)
_TRANSPOSED = tuple(4 * lane + byte for lane in (0, 4, 1, 5) for byte in range(4))
_EVEN = tuple(2 * lane + byte for lane in range(0, 16, 2) for byte in range(2))
_INTERLEAVED = tuple(index for lane in range(8) for index in (lane, 16 + lane))


def _indexes(indexes: tuple[int, ...]) -> str:
    return " ".join(map(str, indexes))


def _shuffle(what: str, indexes: tuple[int, ...], use: str = "") -> Group:
    """The state and the state xor z shuffled; plainly: a swizzle of each, joined by or."""

    def reference(v: Array, _y: Array, z: Array, _m: Array) -> Array:
        both = np.concatenate([v, v ^ z], axis=-1)
        return np.ascontiguousarray(both[:, np.array(indexes)])

    # An index of 16 or more gives 0.
    first = [index if index < 16 else 255 for index in indexes]
    second = [index - 16 if index >= 16 else 255 for index in indexes]
    other = "(v128.xor {v} {z})"
    return Group(
        f"i8x16.shuffle, {what}",
        Case("shuffle + xor", f"(i8x16.shuffle {_indexes(indexes)} {{v}} {other})", reference),
        Case(
            "2 swizzles, or + xor",
            f"(v128.or (i8x16.swizzle {{v}} (v128.const i8x16 {_indexes(tuple(first))}))"
            f" (i8x16.swizzle {other} (v128.const i8x16 {_indexes(tuple(second))})))",
            reference,
        ),
        _V,
        _Y,
        _Z,
        use,
    )


_SWIZZLED = on(U8, lambda v, _y, z, _m: v[:, np.array(_ONE_SOURCE)] ^ z)
_LOOKED_UP = on(U8, lambda v, y, z, _: y[v & 15] ^ z)
_SWIZZLE = Case(
    "swizzle by a vector + xor",
    "(v128.xor (i8x16.swizzle {v} {y}) {z})",
    _SWIZZLED,
)
_LOOKUP = Case(
    "swizzle of a table + and + xor",
    f"(v128.xor (i8x16.swizzle {{y}} (v128.and {{v}} (v128.const i8x16{' 15' * 16}))) {{z}})",
    _LOOKED_UP,
)
_INDEXES = np.array(_ONE_SOURCE, np.uint8)

_SHUFFLES = [
    _shuffle("32-bit lanes of two", _TRANSPOSED, "transposing 32-bit lanes"),
    _shuffle("even 16-bit lanes of two", _EVEN),
    _shuffle("interleaved bytes of two", _INTERLEAVED, "packing int8"),
    _shuffle("any bytes of two", _ANY),
    Group(
        "i8x16.swizzle",
        _SWIZZLE,
        Case(
            "shuffle by constants + xor",
            f"(v128.xor (i8x16.shuffle {_indexes(_ONE_SOURCE)} {{v}} {{v}}) {{z}})",
            _SWIZZLED,
        ),
        _V,
        _INDEXES,
        _Z,
    ),
    Group(
        "i8x16.relaxed_swizzle",
        Case(
            "relaxed_swizzle by a vector + xor",
            "(v128.xor (i8x16.relaxed_swizzle {v} {y}) {z})",
            _SWIZZLED,
        ),
        _SWIZZLE,
        _V,
        _INDEXES,
        _Z,
    ),
    Group(
        "i8x16.relaxed_swizzle, table lookup",
        Case(
            "relaxed_swizzle of a table + and + xor",
            _LOOKUP.step.replace("i8x16.swizzle", "i8x16.relaxed_swizzle"),
            _LOOKED_UP,
        ),
        _LOOKUP,
        _V,
        _Y,
        _Z,
    ),
]

_FLOATS = np.arange(1, 65, dtype=F32)
_STEPS = np.array([1, 2, 3, 4], F32)
_BROADCAST = on(F32, lambda v, y, _z, _m: v[:, 1:2] * np.float32(-0.5) + y)
_MOVED = on(F32, lambda v, y, _z, _m: _with_lane(v, 2, v[:, 1]) + y)


def _with_lane(v: Array, lane: int, values: Array) -> Array:
    result = v.copy()
    result[:, lane] = values
    return result


def _multiplied(lane: str) -> str:
    return f"(f32x4.add (f32x4.mul {lane} (v128.const f32x4{' -0.5' * 4})) {{y}})"


_SCALARS = [
    Group(
        "f32x4.splat of an extracted lane",
        Case(
            "extract_lane, splat + mul + add",
            _multiplied("(f32x4.splat (f32x4.extract_lane 1 {v}))"),
            _BROADCAST,
        ),
        Case(
            "shuffle + mul + add",
            _multiplied(f"(i8x16.shuffle {'4 5 6 7 ' * 4}{{v}} {{v}})"),
            _BROADCAST,
        ),
        _FLOATS,
        _STEPS,
        matmul="broadcasting a factor",
    ),
    Group(
        "f32x4.replace_lane of an extracted lane",
        Case(
            "extract_lane, replace_lane + add",
            "(f32x4.add (f32x4.replace_lane 2 {v} (f32x4.extract_lane 1 {v})) {y})",
            _MOVED,
        ),
        Case(
            "shuffle + add",
            "(f32x4.add (i8x16.shuffle 0 1 2 3 4 5 6 7 4 5 6 7 12 13 14 15 {v} {v}) {y})",
            _MOVED,
        ),
        _FLOATS,
        _STEPS,
    ),
]

GROUPS = [*_SHUFFLES, *_SCALARS]
