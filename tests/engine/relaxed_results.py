"""What the specification of relaxed SIMD allows for each instruction, lane by lane, in numpy.

``alternatives`` gives arrays; each lane must have the value of one of them.

Spec: https://github.com/WebAssembly/relaxed-simd/blob/main/proposals/relaxed-simd/Overview.md
"""

from __future__ import annotations

import ctypes
import ctypes.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["INSTRUCTIONS", "Array", "Instruction", "fused", "numbers"]

Array: TypeAlias = NDArray[Any]

_RANDOM = 20_000
_INT32_MIN, _UINT32_MAX = -(2**31), 2**32 - 1


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction."""

    name: str
    result: type[np.generic]
    operands: Callable[[], tuple[Array, ...]]
    """Many lanes for each, special ones among them."""
    alternatives: Callable[..., list[Array]]


def numbers(kind: type[np.generic], seed: int) -> Array:
    """Floating-point lanes: special ones in all combinations with others, then random ones."""
    random = np.random.default_rng(seed)
    special = [0.0, 1.0, 1.5, 2.0**-149, 3.4e38, 2.0**31, 2.0**32, 2.0**31 - 128, np.inf, np.nan]
    special += [2.0**31 - 1, 2.0**31 - 0.5, 2.0**32 - 0.5, 2.0**32 - 256, 0.5, 0.99999, 2.0**63]
    both = np.array([*special, *(-one for one in special)], kind)
    grid = np.repeat(both, len(both)) if seed % 2 else np.tile(both, len(both))
    exponents = random.uniform(-40, 40, _RANDOM)
    return np.concatenate([grid, random.normal(size=_RANDOM) * 2.0**exponents]).astype(kind)


def fused(a: Array, b: Array, c: Array) -> Array:
    """``a * b + c`` with one rounding, by the C library."""
    single = a.dtype == np.float32
    function = ctypes.CDLL(ctypes.util.find_library("m")).__getitem__("fmaf" if single else "fma")
    kind = ctypes.c_float if single else ctypes.c_double
    function.restype, function.argtypes = kind, (kind, kind, kind)
    lanes = zip(a.tolist(), b.tolist(), c.tolist(), strict=True)
    return np.array([function(*each) for each in lanes], a.dtype)


def _three(kind: type[np.generic]) -> Callable[[], tuple[Array, ...]]:
    def operands() -> tuple[Array, ...]:
        a, b, c = (numbers(kind, seed) for seed in range(3))
        count = len(c) // 2  # minus the product, where one rounding and two differ
        with np.errstate(all="ignore"):
            c[-count:] = -(a[-count:] * b[-count:])
        return a, b, c

    return operands


def _two(kind: type[np.generic]) -> Callable[[], tuple[Array, ...]]:
    return lambda: (numbers(kind, 0), numbers(kind, 1))


def _madd(sign: int) -> Callable[[Array, Array, Array], list[Array]]:
    def alternatives(a: Array, b: Array, c: Array) -> list[Array]:
        with np.errstate(all="ignore"):
            return [fused(sign * a, b, c), sign * a * b + c]

    return alternatives


def _min(a: Array, b: Array) -> list[Array]:
    strict = np.where(np.signbit(a) & (a == b), a, np.minimum(a, b))
    return _where_unclear(a, b, strict)


def _max(a: Array, b: Array) -> list[Array]:
    strict = np.where(~np.signbit(a) & (a == b), a, np.maximum(a, b))
    return _where_unclear(a, b, strict)


def _where_unclear(a: Array, b: Array, strict: Array) -> list[Array]:
    unclear = np.isnan(a) | np.isnan(b) | ((a == 0) & (b == 0))
    return [strict, np.where(unclear, a, strict), np.where(unclear, b, strict)]


def _truncated(a: Array, low: int, high: int, kind: type[np.generic]) -> tuple[Array, Array]:
    """Saturated, and whether the lane fits."""
    whole = np.trunc(a.astype(np.float64))
    fits = (whole >= low) & (whole <= high)
    saturated = np.where(np.isnan(whole), 0, np.clip(np.nan_to_num(whole), low, high))
    return saturated.astype(np.int64).astype(kind), fits


def _trunc_signed(a: Array) -> list[Array]:
    saturated, fits = _truncated(a, _INT32_MIN, 2**31 - 1, np.int32)
    return [saturated, np.where(fits, saturated, np.int32(_INT32_MIN))]


def _trunc_unsigned(a: Array) -> list[Array]:
    saturated, fits = _truncated(a, 0, _UINT32_MAX, np.uint32)
    return [saturated, np.where(fits, saturated, np.uint32(_UINT32_MAX))]


def _and_zeros(lanes: Callable[[Array], list[Array]]) -> Callable[[Array], list[Array]]:
    """For each vector of two results two zeros more."""

    def alternatives(a: Array) -> list[Array]:
        return [
            np.concatenate([one.reshape(-1, 2), np.zeros((len(a) // 2, 2), one.dtype)], 1).ravel()
            for one in lanes(a)
        ]

    return alternatives


def _swizzle_operands() -> tuple[Array, ...]:
    random = np.random.default_rng(5)
    indices = np.concatenate([np.arange(256), random.integers(0, 256, 4096)]).astype(np.uint8)
    return random.integers(0, 256, len(indices), np.uint8), indices


def _swizzle(a: Array, indices: Array) -> list[Array]:
    vectors, wanted = a.reshape(-1, 16), indices.reshape(-1, 16)
    picked = np.take_along_axis(vectors, (wanted % 16).astype(np.intp), 1)
    return [
        np.where(wanted < limit, picked, np.uint8(0)).ravel().astype(np.uint8)
        for limit in (16, 128)
    ]


def _laneselect_operands(kind: type[np.generic]) -> Callable[[], tuple[Array, ...]]:
    def operands() -> tuple[Array, ...]:
        random = np.random.default_rng(6)
        a, b, mask = (random.integers(0, 256, 16 * 600, np.uint8).view(kind) for _ in range(3))
        # Most masks are comparisons.
        mask = np.where(np.arange(len(mask)) % 3 == 0, mask, -(mask & 1).astype(kind))
        return a, b, mask.astype(kind)

    return operands


def _laneselect(a: Array, b: Array, mask: Array) -> list[Array]:
    top = mask >> (8 * mask.itemsize - 1) != 0
    alternatives = [a & mask | b & ~mask, np.where(top, a, b)]
    if mask.itemsize == 2:  # the one that may look at bytes
        in_bytes = mask.view(np.uint8) >= 0x80
        alternatives.append(np.where(in_bytes, a.view(np.uint8), b.view(np.uint8)).view(a.dtype))
    return alternatives


def _q15mulr_operands() -> tuple[Array, ...]:
    random = np.random.default_rng(7)
    special = np.array([-32768, -32767, -1, 0, 1, 2, 16384, 32767, 181, -16384], np.int16)
    a, b = (random.integers(-32768, 32768, 4096).astype(np.int16) for _ in range(2))
    a[:100], b[:100] = np.repeat(special, 10), np.tile(special, 10)
    return a, b


def _q15mulr(a: Array, b: Array) -> list[Array]:
    exact = (a.astype(np.int32) * b + 0x4000) >> 15
    return [exact.astype(np.int16), np.minimum(exact, 32767).astype(np.int16)]


def _dot_operands() -> tuple[Array, ...]:
    random = np.random.default_rng(8)
    a = random.integers(-128, 128, 16 * 600).astype(np.int8)
    b = random.integers(0, 128, 16 * 600).astype(np.int8)
    a[:64], b[:32], b[32:64] = -128, 127, -128
    a[64:96], b[64:96] = 127, 127
    b[-1600:] = random.integers(-128, 128, 1600)  # beyond seven bits
    return a, b


def _dot(a: Array, b: Array) -> list[Array]:
    return [np.clip(one, -32768, 32767).astype(np.int16) for one in _pair_sums(a, b)] + [
        one.astype(np.int16) for one in _pair_sums(a, b)
    ]


def _dot_add(a: Array, b: Array, c: Array) -> list[Array]:
    sums = [one.astype(np.int32) for one in _dot(a, b)] + _pair_sums(a, b)
    return [one.reshape(-1, 2).sum(1, dtype=np.int32) + c for one in sums]


def _pair_sums(a: Array, b: Array) -> list[Array]:
    """Without loss; the second operand signed, and unsigned."""
    signed = a.astype(np.int32)
    return [
        (signed * other.astype(np.int32)).reshape(-1, 2).sum(1, dtype=np.int32)
        for other in (b, b.view(np.uint8))
    ]


def _dot_add_operands() -> tuple[Array, ...]:
    a, b = _dot_operands()
    random = np.random.default_rng(9)
    return a, b, random.integers(-(2**31), 2**31, len(a) // 4).astype(np.int32)


INSTRUCTIONS = (
    Instruction("i8x16.relaxed_swizzle", np.uint8, _swizzle_operands, _swizzle),
    Instruction(
        "i32x4.relaxed_trunc_f32x4_s", np.int32, lambda: (numbers(np.float32, 1),), _trunc_signed
    ),
    Instruction(
        "i32x4.relaxed_trunc_f32x4_u", np.uint32, lambda: (numbers(np.float32, 1),), _trunc_unsigned
    ),
    Instruction(
        "i32x4.relaxed_trunc_f64x2_s_zero",
        np.int32,
        lambda: (numbers(np.float64, 1),),
        _and_zeros(_trunc_signed),
    ),
    Instruction(
        "i32x4.relaxed_trunc_f64x2_u_zero",
        np.uint32,
        lambda: (numbers(np.float64, 1),),
        _and_zeros(_trunc_unsigned),
    ),
    Instruction("f32x4.relaxed_madd", np.float32, _three(np.float32), _madd(1)),
    Instruction("f32x4.relaxed_nmadd", np.float32, _three(np.float32), _madd(-1)),
    Instruction("f64x2.relaxed_madd", np.float64, _three(np.float64), _madd(1)),
    Instruction("f64x2.relaxed_nmadd", np.float64, _three(np.float64), _madd(-1)),
    Instruction("i8x16.relaxed_laneselect", np.uint8, _laneselect_operands(np.uint8), _laneselect),
    Instruction(
        "i16x8.relaxed_laneselect", np.uint16, _laneselect_operands(np.uint16), _laneselect
    ),
    Instruction(
        "i32x4.relaxed_laneselect", np.uint32, _laneselect_operands(np.uint32), _laneselect
    ),
    Instruction(
        "i64x2.relaxed_laneselect", np.uint64, _laneselect_operands(np.uint64), _laneselect
    ),
    Instruction("f32x4.relaxed_min", np.float32, _two(np.float32), _min),
    Instruction("f32x4.relaxed_max", np.float32, _two(np.float32), _max),
    Instruction("f64x2.relaxed_min", np.float64, _two(np.float64), _min),
    Instruction("f64x2.relaxed_max", np.float64, _two(np.float64), _max),
    Instruction("i16x8.relaxed_q15mulr_s", np.int16, _q15mulr_operands, _q15mulr),
    Instruction("i16x8.relaxed_dot_i8x16_i7x16_s", np.int16, _dot_operands, _dot),
    Instruction("i32x4.relaxed_dot_i8x16_i7x16_add_s", np.int32, _dot_add_operands, _dot_add),
)
"""All twenty."""
