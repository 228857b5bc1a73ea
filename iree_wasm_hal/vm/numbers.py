"""Arithmetic that Python does not do as IREE's VM does it: the helpers of generated code.

Integers come and go as signed Python ints, f32 values as floats already rounded to f32. Names
are short because generated code looks them up by them (see ``NAMESPACE``).

Functions of the C library (``exp``, ``sin``, ...) are computed in f64; their f32 results are the
rounded f64 results, which may differ from the C library's f32 functions in the last bit. The
payload of a signalling NaN is quieted on its way through a Python float.

Spec: iree/vm/ops.h.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

from iree_wasm_hal.status import StatusCode, invocation_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["NAMESPACE", "round_f32"]

_F32 = struct.Struct("f")
_I32 = struct.Struct("i")
_F64 = struct.Struct("d")
_I64 = struct.Struct("q")
_INF = math.inf
_NAN = math.nan
_MIN64 = -(1 << 63)
_EXACT = 1 << 53
"""Integers up to here are exact in f64."""


def round_f32(value: float) -> float:
    """The f32 nearest to ``value``, ties to even, overflow to infinity."""
    try:
        rounded: float = _F32.unpack(_F32.pack(value))[0]
    except OverflowError:
        return math.copysign(_INF, value)
    return rounded


def wrap32(value: int) -> int:
    """The low 32 bits, signed."""
    return (value + 0x80000000 & 0xFFFFFFFF) - 0x80000000


def wrap64(value: int) -> int:
    """The low 64 bits, signed."""
    return (value + 0x8000000000000000 & 0xFFFFFFFFFFFFFFFF) - 0x8000000000000000


def _check_divisor(divisor: int) -> None:
    # The reference executes the machine's division, which kills the process.
    if divisor == 0:
        raise invocation_error(StatusCode.INVALID_ARGUMENT, "integer division by zero")


def div_signed(a: int, b: int) -> int:
    """Quotient rounded toward zero; not wrapped."""
    _check_divisor(b)
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def rem_signed(a: int, b: int) -> int:
    """Remainder with the dividend's sign."""
    _check_divisor(b)
    remainder = abs(a) % abs(b)
    return -remainder if a < 0 else remainder


def div_unsigned(a: int, b: int) -> int:
    """Quotient of non-negative operands."""
    _check_divisor(b)
    return a // b


def rem_unsigned(a: int, b: int) -> int:
    """Remainder of non-negative operands."""
    _check_divisor(b)
    return a % b


def div_float(a: float, b: float) -> float:
    """IEEE 754 division."""
    if b != 0.0:
        return a / b
    if a == 0.0 or a != a:  # noqa: PLR0124 # NaN
        return _NAN
    return math.copysign(_INF, a) * math.copysign(1.0, b)


def rem_float(a: float, b: float) -> float:
    """IEEE 754 remainder (quotient to nearest)."""
    try:
        return math.remainder(a, b)
    except ValueError:
        return _NAN


def _integral(value: float, function: Callable[[float], int]) -> float:
    if not math.isfinite(value):
        return value
    return math.copysign(float(function(value)), value)


def ceil(value: float) -> float:
    """C ``ceil``: keeps the sign of a zero result."""
    return _integral(value, math.ceil)


def floor(value: float) -> float:
    """C ``floor``."""
    return _integral(value, math.floor)


def round_away(value: float) -> float:
    """C ``round``: halves away from zero."""
    magnitude = abs(value)
    if not magnitude < _EXACT:
        return value
    whole = math.floor(magnitude)
    if magnitude - whole >= 0.5:
        whole += 1
    return math.copysign(float(whole), value)


def round_even(value: float) -> float:
    """Halves to even; as in the reference, a negative half becomes +0."""
    rounded = round_away(value)
    if abs(value - rounded) == 0.5 and math.fmod(rounded, 2.0) != 0.0:
        rounded += -1.0 if rounded > 0.0 else 1.0
    return rounded


def _odd(value: float) -> bool:
    return math.isfinite(value) and value.is_integer() and int(value) % 2 == 1


def power(base: float, exponent: float) -> float:
    """C ``pow``."""
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return -_INF if base < 0 and _odd(exponent) else _INF
    except ValueError:
        if base == 0.0:
            return math.copysign(_INF, base) if _odd(exponent) else _INF
        return _NAN


def _total(
    function: Callable[[float], float], pole: float | None = None
) -> Callable[[float], float]:
    """The C function behind ``function``: infinities and NaN in place of exceptions."""

    def call(value: float) -> float:
        try:
            return function(value)
        except OverflowError:
            return _INF
        except ValueError:
            return -_INF if value == pole else _NAN

    return call


def _exp2(value: float) -> float:
    return math.pow(2.0, value)


def rsqrt(value: float, round_to: Callable[[float], float] = float) -> float:
    """Reciprocal square root, rounded after each of its two steps."""
    if value < 0.0:
        return _NAN
    return round_to(div_float(1.0, round_to(math.sqrt(value))))


def rsqrt_f32(value: float) -> float:
    """``rsqrt`` in f32."""
    return rsqrt(value, round_f32)


def lround(value: float) -> int:
    """C ``llround`` on x86-64: what does not fit 64 bits becomes -2**63."""
    rounded = round_away(value)
    if not -(2.0**63) <= rounded < 2.0**63:
        return _MIN64
    return int(rounded)


def to_u64(value: float) -> int:
    """C conversion of ``round(value)`` to uint64 on x86-64, as a signed 64-bit number."""
    rounded = round_away(value)
    if not -(2.0**63) <= rounded < 2.0**64:
        return _MIN64
    return wrap64(int(rounded))


def int_to_f32(value: int) -> float:
    """An integer of up to 64 bits to f32, rounded once."""
    if -_EXACT <= value <= _EXACT:
        return round_f32(float(value))
    # Fold what f32 cannot hold into a sticky bit, so that f64 does not round first.
    magnitude = abs(value)
    shift = magnitude.bit_length() - 40
    kept = magnitude >> shift | (magnitude & (1 << shift) - 1 != 0)
    rounded = round_f32(math.ldexp(float(kept), shift))
    return -rounded if value < 0 else rounded


def bits_to_f32(value: int) -> float:
    """The f32 with these bits."""
    result: float = _F32.unpack(_I32.pack(value))[0]
    return result


def f32_to_bits(value: float) -> int:
    """The bits of an f32, signed."""
    result: int = _I32.unpack(_F32.pack(value))[0]
    return result


def bits_to_f64(value: int) -> float:
    """The f64 with these bits."""
    result: float = _F64.unpack(_I64.pack(value))[0]
    return result


def f64_to_bits(value: float) -> int:
    """The bits of an f64, signed."""
    result: int = _I64.unpack(_F64.pack(value))[0]
    return result


NAMESPACE: Mapping[str, object] = {
    "_f32": round_f32,
    "_wrap32": wrap32,
    "_wrap64": wrap64,
    "_div_s": div_signed,
    "_rem_s": rem_signed,
    "_div_u": div_unsigned,
    "_rem_u": rem_unsigned,
    "_fdiv": div_float,
    "_frem": rem_float,
    "_ceil": ceil,
    "_floor": floor,
    "_round": round_away,
    "_round_even": round_even,
    "_pow": power,
    "_rsqrt": rsqrt,
    "_rsqrt_f32": rsqrt_f32,
    "_lround": lround,
    "_to_u64": to_u64,
    "_int_to_f32": int_to_f32,
    "_bits_to_f32": bits_to_f32,
    "_f32_to_bits": f32_to_bits,
    "_bits_to_f64": bits_to_f64,
    "_f64_to_bits": f64_to_bits,
    "_fabs": math.fabs,
    "_atan": math.atan,
    "_atan2": math.atan2,
    "_cos": _total(math.cos),
    "_sin": _total(math.sin),
    "_exp": _total(math.exp),
    "_exp2": _total(getattr(math, "exp2", _exp2)),
    "_expm1": _total(math.expm1),
    "_log": _total(math.log, 0.0),
    "_log10": _total(math.log10, 0.0),
    "_log1p": _total(math.log1p, -1.0),
    "_log2": _total(math.log2, 0.0),
    "_sqrt": _total(math.sqrt),
    "_tanh": math.tanh,
    "_erf": math.erf,
}
"""The helpers under the names that ``vm.templates`` uses."""
