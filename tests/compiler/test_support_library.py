from __future__ import annotations

import importlib.util
import math
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from iree_wasm_hal.compiler.linking.front import SUPPORT_DIR
from iree_wasm_hal.compiler.linking.support import build
from iree_wasm_hal.compiler.toolchain import find_toolchain

if TYPE_CHECKING:
    from collections.abc import Callable

_spec = importlib.util.spec_from_file_location(
    "support_module", Path(__file__).parent / "support_module.py"
)
assert _spec is not None
assert _spec.loader is not None
support_module = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = support_module
_spec.loader.exec_module(support_module)

Array = np.ndarray[Any, np.dtype[Any]]

# Function -> (inputs from, to, reference, largest error in ulps of f32, of f64). References are
# computed in numpy's longdouble (64-bit fraction) where numpy has the function, else in double.
_UNARY: dict[str, tuple[float, float, Callable[..., Any], float, float]] = {
    "acos": (-1, 1, np.arccos, 1, 1),
    "acosh": (1, 1e4, np.arccosh, 1, 2),
    "asin": (-1, 1, np.arcsin, 1, 1),
    "asinh": (-1e4, 1e4, np.arcsinh, 1, 2),
    "atan": (-1e3, 1e3, np.arctan, 1, 1),
    "atanh": (-0.999, 0.999, np.arctanh, 1, 2),
    "cbrt": (-1e6, 1e6, np.cbrt, 1, 1),
    "cos": (-1e4, 1e4, np.cos, 1, 1),
    "cosh": (-80, 80, np.cosh, 1, 1),
    "erf": (-4, 4, np.vectorize(math.erf), 1, 2),
    "exp": (-80, 80, np.exp, 1, 1),
    "exp10": (-30, 30, lambda x: np.power(np.longdouble(10), x), 1, 2),
    "exp2": (-120, 120, np.exp2, 1, 1),
    "expm1": (-30, 30, np.expm1, 1, 1),
    "log": (1e-6, 1e6, np.log, 1, 1),
    "log10": (1e-6, 1e6, np.log10, 2, 2),
    "log1p": (-0.999, 1e6, np.log1p, 1, 1),
    "log2": (1e-6, 1e6, np.log2, 1, 1),
    "sin": (-1e4, 1e4, np.sin, 1, 1),
    "sinh": (-80, 80, np.sinh, 1, 2),
    "tan": (-1e4, 1e4, np.tan, 1, 1),
    "tanh": (-10, 10, np.tanh, 2, 2),
    "tgamma": (0.1, 30, np.vectorize(math.gamma), 1, 12),
    # Exact: one rounding, or none.
    "ceil": (-1e6, 1e6, np.ceil, 0, 0),
    "fabs": (-1e6, 1e6, np.abs, 0, 0),
    "floor": (-1e6, 1e6, np.floor, 0, 0),
    "nearbyint": (-1e3, 1e3, np.rint, 0, 0),
    "rint": (-1e3, 1e3, np.rint, 0, 0),
    "round": (-1e3, 1e3, lambda x: np.copysign(np.floor(np.abs(x) + 0.5), x), 0, 0),
    "roundeven": (-1e3, 1e3, np.rint, 0, 0),
    "sqrt": (0, 1e6, np.sqrt, 0.5, 0.5),
    "trunc": (-1e6, 1e6, np.trunc, 0, 0),
}
_BINARY: dict[str, tuple[float, float, Callable[..., Any], float, float]] = {
    "atan2": (-1e3, 1e3, np.arctan2, 1, 1),
    "copysign": (-1e3, 1e3, np.copysign, 0, 0),
    "fdim": (-1e3, 1e3, lambda x, y: np.maximum(x - y, 0), 0.5, 0.5),
    "fmax": (-1e3, 1e3, np.fmax, 0, 0),
    "fmin": (-1e3, 1e3, np.fmin, 0, 0),
    "fmod": (-1e3, 1e3, np.fmod, 0, 0),
    "hypot": (-1e3, 1e3, np.hypot, 1, 1),
    "pow": (0.01, 20, np.power, 1, 1),
}
_OTHERS = [
    *("fma", "fmaf", "memcpy", "memmove", "memset", "memcmp", "__powisf2", "__powidf2"),
    *("ldexp", "ldexpf", "scalbn", "scalbnf"),
    *("__multi3", "__ashlti3", "__lshrti3", "__ashrti3"),
    *("__divti3", "__modti3", "__udivti3", "__umodti3"),
    *("__truncdfhf2", "__truncsfhf2", "__extendhfsf2", "__gnu_h2f_ieee", "__gnu_f2h_ieee"),
    *("__truncsfbf2", "__truncdfbf2"),
]
_SPECIAL = [0.0, -0.0, 0.5, -0.5, 1.5, 2.5, -2.5, math.inf, -math.inf, math.nan]


@pytest.fixture(scope="module")
def support(tmp_path_factory: pytest.TempPathFactory) -> Any:
    names = [name + suffix for name in (*_UNARY, *_BINARY) for suffix in ("", "f")] + _OTHERS
    return support_module.SupportModule(32, names, tmp_path_factory.mktemp("support"))


def _ulps(actual: Array, exact: Array, dtype: type[np.floating[Any]]) -> float:
    finite = np.isfinite(exact) & (np.abs(exact) < np.finfo(dtype).max)
    assert (np.isnan(actual) == np.isnan(exact)).all()
    scale = np.maximum(np.abs(exact[finite]), np.finfo(dtype).tiny).astype(dtype)
    spacing = np.spacing(scale).astype(np.longdouble)
    errors = np.abs(actual[finite].astype(np.longdouble) - exact[finite]) / spacing
    return float(errors.max(initial=0))


def _samples(low: float, high: float, count: int, dtype: Any) -> Array:
    values = np.random.default_rng(7).uniform(low, high, count)
    return np.concatenate([values, np.linspace(low, high, 7)]).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", _UNARY)
def test_functions_of_one_argument_are_accurate(support: Any, name: str, dtype: Any) -> None:
    low, high, reference, bound32, bound64 = _UNARY[name]
    inputs = np.concatenate([_samples(low, high, 60, dtype), np.array(_SPECIAL, dtype)])
    symbol = name + "f" * (dtype is np.float32)
    actual = np.array([support(symbol, float(x)) for x in inputs], dtype)
    with np.errstate(all="ignore"):
        if isinstance(reference, np.vectorize):
            inputs, actual = inputs[: -len(_SPECIAL)], actual[: -len(_SPECIAL)]
            exact = reference(inputs.astype(np.float64)).astype(np.longdouble)
        else:
            exact = np.asarray(reference(inputs.astype(np.longdouble)))
    # Half an ulp is the rounding of the exact result itself.
    bound = bound32 if dtype is np.float32 else bound64
    assert _ulps(actual, exact, dtype) <= (bound + 0.5 if bound >= 1 else bound)
    infinite = np.isinf(exact.astype(dtype))
    assert (actual[infinite] == exact.astype(dtype)[infinite]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", _BINARY)
def test_functions_of_two_arguments_are_accurate(support: Any, name: str, dtype: Any) -> None:
    low, high, reference, bound32, bound64 = _BINARY[name]
    left, right = _samples(low, high, 60, dtype), _samples(low, high, 60, dtype)[::-1].copy()
    symbol = name + "f" * (dtype is np.float32)
    actual = np.array(
        [support(symbol, float(x), float(y)) for x, y in zip(left, right, strict=True)], dtype
    )
    with np.errstate(all="ignore"):
        exact = np.asarray(reference(left.astype(np.longdouble), right.astype(np.longdouble)))
    bound = bound32 if dtype is np.float32 else bound64
    assert _ulps(actual, exact, dtype) <= (bound + 0.5 if bound >= 1 else bound)


@pytest.mark.parametrize("suffix", ["f", ""])
def test_fmax_and_fmin_ignore_a_nan(support: Any, suffix: str) -> None:
    nan = math.nan
    for name in ("fmax", "fmin"):
        assert support(name + suffix, nan, 2.0) == 2.0
        assert support(name + suffix, -3.0, nan) == -3.0
        assert math.isnan(support(name + suffix, nan, nan))
    assert support("fmax" + suffix, -math.inf, 1.0) == 1.0
    assert support("fmin" + suffix, math.inf, 1.0) == 1.0


@pytest.mark.parametrize("suffix", ["f", ""])
def test_round_goes_away_from_zero_at_halves_and_only_there(support: Any, suffix: str) -> None:
    dtype = np.float32 if suffix else np.float64
    below_half = float(np.nextafter(dtype(0.5), dtype(0)))
    assert support("round" + suffix, 0.5) == 1.0
    assert support("round" + suffix, -2.5) == -3.0
    assert support("round" + suffix, below_half) == 0.0
    assert math.copysign(1, support("round" + suffix, -0.2)) == -1.0
    large = float(2 ** np.finfo(dtype).nmant + 1)
    assert support("round" + suffix, large) == large


def test_fma_rounds_once(support: Any) -> None:
    random = np.random.default_rng(3)
    for _ in range(100):
        x, y, z = (float(v) for v in random.standard_normal(3))
        wide = np.longdouble(x) * np.longdouble(y) + np.longdouble(z)
        assert abs(np.longdouble(support("fma", x, y, z)) - wide) <= np.spacing(abs(float(wide)))
    # The product's low half decides: 1 + 2**-52 squared minus its rounded value.
    x = 1 + 2.0**-52
    assert support("fma", x, x, -(1 + 2.0**-51)) == 2.0**-104
    one = float(np.float32(1 + 2.0**-23))
    assert support("fmaf", one, one, -(1 + 2.0**-22)) == 2.0**-46


def test_integer_powers_and_scaling(support: Any) -> None:
    for base, exponent in [(1.5, 7), (2.0, -3), (-3.0, 5), (7.25, 0)]:
        assert support("__powidf2", base, exponent) == base**exponent
        assert support("__powisf2", base, exponent) == np.float32(base**exponent)
    for name in ("ldexp", "scalbn"):
        assert support(name, 0.75, 10) == 768.0
        assert support(name + "f", 0.75, -3) == 0.09375


_HALVES = np.unique(
    np.concatenate([np.arange(0, 65536, 37), [0, 1, 0x3FF, 0x400, 0x7BFF, 0x7C00, 0x7E00, 0x8001]])
).astype(np.uint16)


def test_half_to_single_is_exact(support: Any) -> None:
    for bits in _HALVES:
        expected = float(bits.view(np.float16))
        for name in ("__extendhfsf2", "__gnu_h2f_ieee"):
            actual = support(name, int(bits))
            assert actual == expected or (math.isnan(actual) and math.isnan(expected))


def test_single_and_double_to_half_round_to_nearest_even(support: Any) -> None:
    halves = _HALVES[np.isfinite(_HALVES.view(np.float16))].view(np.float16).astype(np.float64)
    random = np.random.default_rng(5)
    values = [
        *halves[::9],
        *(halves[::9] * (1 + 2.0**-11)),  # near the middle between two halves
        *(halves[::9] + 2.0**-25),
        *(random.standard_normal(300) * 10.0 ** random.uniform(-9, 6, 300)),
        *(65504.0, 65519.99, 65520.0, 1e30, -1e30, math.inf, -math.inf),
        *(2.0**-24, 2.0**-25, np.nextafter(2.0**-25, 1.0), 2.0**-26, 0.0, -0.0),
    ]
    with np.errstate(over="ignore"):
        for value in values:
            expected = int(np.float64(value).astype(np.float16).view(np.uint16))
            assert support("__truncdfhf2", float(value)) == expected, value
            single = np.float32(value)
            expected = int(single.astype(np.float16).view(np.uint16))
            assert support("__truncsfhf2", float(single)) == expected, value
            assert support("__gnu_f2h_ieee", float(single)) == expected, value
    assert support("__truncdfhf2", math.nan) & 0x7FFF > 0x7C00


def test_rounding_to_bf16_is_to_nearest_even(support: Any) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    random = np.random.default_rng(11)
    values = (random.standard_normal(500) * 10.0 ** random.uniform(-38, 38, 500)).astype(np.float32)
    ties = (np.arange(0x3F800000, 0x3F880000, 0x8000, dtype=np.uint32)).view(np.float32)
    for value in [*values, *ties, np.float32(np.inf), np.float32(3.4e38), np.float32(0)]:
        expected = float(value.astype(ml_dtypes.bfloat16))
        assert support("__truncsfbf2", float(value)) == expected
        assert support("__truncdfbf2", float(value)) == expected


_WIDE = [0, 1, -1, 7, -13, 2**63, -(2**63), 2**64 + 5, -(2**90) - 3, 2**127 - 1, -(2**127)]


def _signed(value: int) -> int:
    value %= 1 << 128
    return value - (1 << 128) if value >> 127 else value


def test_128_bit_arithmetic(support: Any) -> None:
    for left in _WIDE:
        for right in _WIDE:
            assert support.int128("__multi3", left, right) == _signed(left * right)
            if right == 0:
                continue
            quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
            assert support.int128("__divti3", left, right) == _signed(quotient)
            assert support.int128("__modti3", left, right) == left - quotient * right
            unsigned_left, unsigned_right = left % (1 << 128), right % (1 << 128)
            assert support.int128("__udivti3", left, right) == _signed(
                unsigned_left // unsigned_right
            )
            assert support.int128("__umodti3", left, right) == _signed(
                unsigned_left % unsigned_right
            )


def test_128_bit_shifts(support: Any) -> None:
    address = support_module.SCRATCH_ADDRESS
    for value in _WIDE:
        words = struct.unpack("<qq", (value % (1 << 128)).to_bytes(16, "little"))
        for count in (0, 1, 31, 63, 64, 65, 127):
            expected = {
                "__ashlti3": _signed(value << count),
                "__ashrti3": value >> count,
                "__lshrti3": _signed((value % (1 << 128)) >> count),
            }
            for name, result in expected.items():
                support(name, address, *words, count)
                assert int.from_bytes(support.read(address, 16), "little", signed=True) == result


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 64, 101])
def test_memory_functions(support: Any, count: int) -> None:
    base = support_module.SCRATCH_ADDRESS
    data = bytes(range(1, 256)) * 2
    for distance in (-9, -3, 0, 5, 16):
        support.write(base, data)
        assert support("memmove", base + 64 + distance, base + 64, count) == base + 64 + distance
        expected = bytearray(data)
        expected[64 + distance : 64 + distance + count] = data[64 : 64 + count]
        assert support.read(base, len(data)) == bytes(expected)
    support.write(base, data)
    support("memcpy", base + 256, base + 3, count)
    assert support.read(base + 256, count) == data[3 : 3 + count]
    assert support("memcmp", base + 256, base + 3, count) == 0
    support("memset", base + 17, 0x1A5, count)
    assert (
        support.read(base + 16, count + 2)
        == b"\x11" + b"\xa5" * count + data[17 + count : 18 + count]
    )
    if count:
        support.write(base + 256 + count - 1, b"\0")
        assert support("memcmp", base + 256, base + 3, count) < 0


def test_the_64_bit_library_computes_the_same(support: Any, tmp_path: Path) -> None:
    names = ["expf", "sin", "fmaxf", "__extendhfsf2", "memset", "pow"]
    wide = support_module.SupportModule(64, names, tmp_path)
    for x in (0.1, 2.0, 33.3):
        for name in ("expf", "sin"):
            assert wide(name, x) == support(name, x)
        assert wide("pow", x, 1.7) == support("pow", x, 1.7)
        assert wide("fmaxf", x, 3.0) == support("fmaxf", x, 3.0)
    wide("memset", 1 << 20, 7, 9)
    assert wide.read(1 << 20, 10) == b"\7" * 9 + b"\0"


@pytest.mark.parametrize("bits", [32, 64])
def test_the_library_needs_nothing_else(bits: int, tmp_path: Path) -> None:
    output = tmp_path / "all.wasm"
    command = [str(find_toolchain().lld), "-flavor", "wasm", "--no-entry", "--whole-archive"]
    command += [str(SUPPORT_DIR / f"libsupport_wasm{bits}.a"), "-o", str(output)]
    command += ["-mwasm64"] if bits == 64 else []
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.stderr == ""
    assert result.returncode == 0


@pytest.mark.parametrize("bits", [32, 64])
def test_the_library_is_small(bits: int) -> None:
    assert (SUPPORT_DIR / f"libsupport_wasm{bits}.a").stat().st_size < 150_000


@pytest.mark.skipif(
    importlib.util.find_spec("ziglang") is None, reason="building needs the package ziglang"
)
def test_a_rebuild_gives_the_same_bytes(tmp_path: Path) -> None:
    zig = build.find_zig()
    work_dir = tmp_path / "work"
    work_dir.mkdir()
    for bits in (32, 64):
        output = tmp_path / f"libsupport_wasm{bits}.a"
        build.build_archive(zig, bits, output, work_dir)
        assert output.read_bytes() == (SUPPORT_DIR / output.name).read_bytes()
