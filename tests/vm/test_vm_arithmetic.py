"""Every opcode on numbers alone, against IREE's VM, on a grid of edge values.

Each opcode becomes a function of integers: floats travel as their bits, so that results are
compared bit for bit (any NaN is equal to any NaN).
"""

from __future__ import annotations

import itertools
import math
import struct
from typing import TYPE_CHECKING, Any

import pytest

from iree_wasm_hal.errors import InvocationError
from iree_wasm_hal.vm.isa import INSTRUCTION_SETS, Opcode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_REGISTER_TYPES = {"i": "i32", "I": "i64", "f": "f32", "F": "f64"}
_INTEGER_TYPE = {"i": "i", "f": "i", "I": "I", "F": "I"}


def _is_arithmetic(opcode: Opcode) -> bool:
    *reads, write = opcode.operands or ("",)
    return bool(reads) and write[0] == ">" and write != ">R" and set(reads) <= set("iIfF")


ARITHMETIC = sorted(
    opcode.mnemonic
    for table in INSTRUCTION_SETS.values()
    for opcode in table.values()
    if _is_arithmetic(opcode) and "indirect" not in opcode.mnemonic
)
_OPERANDS = {
    opcode.mnemonic: opcode.operands
    for table in INSTRUCTION_SETS.values()
    for opcode in table.values()
}

_MIN32, _MAX32, _MIN64, _MAX64 = -(1 << 31), (1 << 31) - 1, -(1 << 63), (1 << 63) - 1
_I32: tuple[int, ...] = (0, 1, -1, 2, 7, -7, 31, 32, 33, 127, 128, -128, -129, 255, 256)
_I32 += (32767, 32768, -32769, 65535, 65536, 0x12345678, -0x12345678, 16777217)
_I32 += (_MAX32, _MAX32 - 1, _MIN32, _MIN32 + 1)
_I64: tuple[int, ...] = (
    0,
    1,
    -1,
    5,
    -5,
    63,
    64,
    255,
    _MAX32,
    _MIN32,
    1 << 31,
    (1 << 32) - 1,
    1 << 32,
    1 << 40,
)
_I64 += (0x123456789ABCDEF, -0x123456789ABCDEF, 9007199254740993, -9007199254740995)
_I64 += ((1 << 54) + 3, 0x7FFFFFBFFFFFFFFF, 0x7FFFFFC000000001, _MAX64, _MIN64, _MIN64 + 1)
_FLOATS: tuple[float, ...] = (
    0.0,
    1.0,
    0.5,
    1.5,
    2.5,
    3.5,
    0.49999997,
    0.1,
    1e-3,
    2.0,
    3.0,
    10.0,
    0.75,
    88.0,
    127.0,
)
_FLOATS += (8388607.5, 8388608.0, 16777216.0, 2147483647.0, 2147483648.0, 4294967296.0)
_FLOATS += (2.0**62, 2.0**63, 1.5 * 2.0**63, 2.0**64, math.pi, math.inf, 1e-45, 1.17549435e-38)
_F32_ONLY = (3.4028234663852886e38, 1e38)
_F64_ONLY = (1.7976931348623157e308, 5e-324, 2.0**53 + 2, 4503599627370495.5, 1e39, 710.0, -745.0)


def _f32_bits(value: float) -> int:
    bits: int = struct.unpack("<i", struct.pack("<f", value))[0]
    return bits


def _f64_bits(value: float) -> int:
    bits: int = struct.unpack("<q", struct.pack("<d", value))[0]
    return bits


def _signed(values: tuple[float, ...]) -> Iterator[float]:
    for value in values:
        yield value
        yield -value
    yield math.nan


_GRIDS: dict[str, tuple[int, ...]] = {
    "i": _I32,
    "I": _I64,
    "f": tuple(map(_f32_bits, _signed(_FLOATS + _F32_ONLY))),
    "F": tuple(map(_f64_bits, _signed(_FLOATS + _F64_ONLY))),
}
_SMALL: dict[str, tuple[int, ...]] = {kind: grid[::3] for kind, grid in _GRIDS.items()}

# Within two units in the last place: the C library in f32 there (glibc documents errors of up to
# 2 ulp), the rounded f64 result here.
_LIBRARY_F32 = {
    f"{name}.f32"
    for name in (
        *("atan", "atan2", "cos", "sin", "tanh", "erf", "pow"),
        *("exp", "exp2", "expm1", "log", "log10", "log1p", "log2"),
    )
}


def _source() -> str:
    """A module with one function per arithmetic opcode."""
    lines = ["vm.module @arithmetic version 0"]
    for mnemonic in ARITHMETIC:
        lines += _function(mnemonic, _OPERANDS[mnemonic])
    return "\n".join(lines) + "\n"


def _function(mnemonic: str, operands: tuple[str, ...]) -> list[str]:
    """Arguments: 64-bit ones first, since the assembler numbers them without gaps."""
    reads, write = operands[:-1], operands[-1][1]
    order = _argument_order(reads)
    registers: dict[int, str] = {}
    arguments = []
    position = 0
    for index in order:
        wide = reads[index] in "IF"
        registers[index] = f"%i{position}:{position + 1}" if wide else f"%i{position}"
        arguments.append(f"{registers[index]}: {_REGISTER_TYPES[_INTEGER_TYPE[reads[index]]]}")
        position += 2 if wide else 1
    body = []
    for index, kind in enumerate(reads):
        if kind in "fF":
            cast = "bitcast.i32.f32" if kind == "f" else "bitcast.i64.f64"
            body.append(f"{registers[index]} = vm.{cast} {registers[index]}")
    position += position & 1
    result = f"%i{position}:{position + 1}" if write in "IF" else f"%i{position}"
    body.append(f"{result} = vm.{mnemonic} " + _operand_text(mnemonic, registers, len(reads)))
    if write in "fF":
        cast = "bitcast.f32.i32" if write == "f" else "bitcast.f64.i64"
        body.append(f"{result} = vm.{cast} {result}")
    name = mnemonic.replace(".", "_")
    return [
        f"vm.export @{name}",
        f"vm.func @{name}({', '.join(arguments)}) -> ({_REGISTER_TYPES[_INTEGER_TYPE[write]]}) {{",
        "^bb0:",
        *(f"  {line}" for line in body),
        f"  vm.return %i{position}",
        "}",
    ]


def _argument_order(reads: tuple[str, ...]) -> list[int]:
    return sorted(range(len(reads)), key=lambda index: reads[index] not in "IF")


def _operand_text(mnemonic: str, registers: dict[int, str], count: int) -> str:
    names = [registers[index] for index in range(count)]
    if mnemonic.startswith("select"):
        return f"{names[0]} ? {names[1]} : {names[2]}"
    return ", ".join(names)


SOURCE = _source()


def _cases(mnemonic: str) -> Iterator[tuple[int, ...]]:
    reads = _OPERANDS[mnemonic][:-1]
    grids = [(_GRIDS if len(reads) < 3 else _SMALL)[kind] for kind in reads]
    for values in itertools.product(*grids):
        # The reference executes the machine's division, which ends the process for these two.
        if mnemonic.startswith(("div.i", "rem.i")):
            overflow = mnemonic.endswith(".s") and values in ((_MIN32, -1), (_MIN64, -1))
            if values[1] == 0 or overflow:
                continue
        yield values


def _float_of(bits: int, kind: str) -> float:
    format_ = ("<i", "<f") if kind == "f" else ("<q", "<d")
    value: float = struct.unpack(format_[1], struct.pack(format_[0], bits))[0]
    return value


def _equal(mnemonic: str, found: int, expected: int) -> bool:
    if found == expected:
        return True
    kind = _OPERANDS[mnemonic][-1][1]
    if kind not in "fF":
        return False
    ours, theirs = _float_of(found, kind), _float_of(expected, kind)
    if math.isnan(ours) or math.isnan(theirs):
        return math.isnan(ours) and math.isnan(theirs)
    return mnemonic in _LIBRARY_F32 and abs(found - expected) <= 2


@pytest.mark.parametrize("mnemonic", ARITHMETIC)
def test_equals_reference(mnemonic: str, both: Callable[[str], tuple[Any, Any]]) -> None:
    reference, ours = both(SOURCE)
    name = mnemonic.replace(".", "_")
    ordered = _argument_order(_OPERANDS[mnemonic][:-1])
    count = 0
    for values in _cases(mnemonic):
        arguments = [values[index] for index in ordered]
        status, expected = reference.call(name, *arguments)
        assert status == "ok"
        status, found = ours.call(name, *arguments)
        assert status == "ok"
        assert _equal(mnemonic, found[0], expected[0]), (
            f"{mnemonic}{values}: got {found[0]:#x}, IREE's VM gives {expected[0]:#x}"
        )
        count += 1
    assert count >= len(_I64)


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("operation", ["div", "rem"])
@pytest.mark.parametrize("sign", ["s", "u"])
def test_division_by_zero_is_an_error(
    bits: int, operation: str, sign: str, both: Callable[[str], tuple[Any, Any]]
) -> None:
    _, ours = both(SOURCE)
    with pytest.raises(InvocationError, match="INVALID_ARGUMENT: integer division by zero"):
        ours.context.function(f"{operation}_i{bits}_{sign}")(5, 0)


@pytest.mark.parametrize("bits", [32, 64])
def test_signed_division_overflow_wraps(bits: int, both: Callable[[str], tuple[Any, Any]]) -> None:
    _, ours = both(SOURCE)
    least = -(1 << (bits - 1))
    assert ours.call(f"div_i{bits}_s", least, -1) == ("ok", (least,))
    assert ours.call(f"rem_i{bits}_s", least, -1) == ("ok", (0,))
