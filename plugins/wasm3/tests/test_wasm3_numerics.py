"""Arithmetic at the edges, against wasmtime and the specification.

wasm3 has a variant of each instruction for operands in its register and in stack slots; each is
run here. NaNs are compared as NaNs: the specification leaves their payloads open.
Spec: https://webassembly.github.io/spec/core/exec/numerics.html
"""

from __future__ import annotations

import itertools
import math
import struct
from typing import TYPE_CHECKING

import pytest
from wasmtime import wat2wasm

from iree_wasm_hal.engine import Instance, MemoryType, open_engine
from iree_wasm_hal.errors import TrapError

if TYPE_CHECKING:
    from collections.abc import Iterator

_FLOAT_UNARY = ("abs", "neg", "ceil", "floor", "trunc", "nearest", "sqrt")
_FLOAT_BINARY = ("add", "sub", "mul", "div", "min", "max", "copysign")
_FLOAT_COMPARE = ("eq", "ne", "lt", "gt", "le", "ge")
_INTEGER_UNARY = ("clz", "ctz", "popcnt", "extend8_s", "extend16_s")
_INTEGER_BINARY = (
    *("add", "sub", "mul", "div_s", "div_u", "rem_s", "rem_u", "and", "or", "xor"),
    *("shl", "shr_s", "shr_u", "rotl", "rotr"),
)
_INTEGER_COMPARE = ("eq", "ne", "lt_s", "lt_u", "gt_s", "gt_u", "le_s", "le_u", "ge_s", "ge_u")
_FLOATS = (
    *(0.0, 0.5, 1.0, 1.5, 2.5, 0.4999999, 4.2e6 + 0.5, math.pi, 1e-40, 3.4e38),
    *(2.0**31, 2.0**32, 2.0**63, 2.0**64, 2.0**31 - 128, 2.0**63 - 2.0**39),
    *(math.inf, math.nan),
)
_INTEGERS = (
    *(0, 1, 2, 7, 31, 32, 63, 127, 128, 255, 32768, 2**24 + 1, 2**31 - 1, 2**31),
    *(2**32 - 1, 2**53 + 1, 2**62 + 2**9 + 1, 2**63 - 1),
)
_SIGNED_INTEGERS = [sign * value for value in _INTEGERS for sign in (1, -1)]
_SIGNALLING = {32: 0x7FA00001, 64: 0x7FF4000000000001}


def _float_bits(width: int) -> list[int]:
    formats = {32: "<f", 64: "<d"}
    values = [sign * value for value in _FLOATS for sign in (1, -1)]
    return [int.from_bytes(struct.pack(formats[width], value), "little") for value in values]


def _is_nan(bits: int, width: int) -> bool:
    exponent, fraction = (0x7F800000, 0x7FFFFF) if width == 32 else (0x7FF << 52, 2**52 - 1)
    return bits & exponent == exponent and bits & fraction != 0


def _is_signalling(bits: int, width: int) -> bool:
    return _is_nan(bits, width) and not bits >> (22 if width == 32 else 51) & 1


def _module(functions: str) -> bytes:
    return bytes(wat2wasm(f'(module (import "env" "memory" (memory 1 16)) {functions})'))


def _instances(functions: str) -> list[Instance]:
    """The same functions in wasm3 and in wasmtime."""
    wasm = _module(functions)
    engines = [open_engine(name) for name in ("wasm3", "wasmtime")]
    return [
        engine.instantiate(engine.compile(wasm), engine.create_memory(MemoryType(1, 16)))
        for engine in engines
    ]


def _outcome(instance: Instance, name: str, *arguments: int) -> int | str:
    """The result, or the kind of the trap."""
    try:
        return instance.function(name)(*arguments) or 0
    except TrapError as trap:
        return trap.kind


def _check(instances: list[Instance], name: str, arguments: tuple[int, ...], nans: int) -> None:
    """Compares one call; results of ``nans`` bits are floats."""
    found, right = (_outcome(each, name, *arguments) for each in instances)
    if nans and isinstance(right, int) and _is_nan(right, nans):
        assert isinstance(found, int), (name, arguments)
        assert _is_nan(found, nans), (name, arguments)
    else:
        assert found == right, (name, arguments)


def _placed(name: str, slots: list[str], registers: list[str]) -> Iterator[tuple[str, str]]:
    """An operation with its operands in slots (``s``) and in the register (``r``)."""
    for places in itertools.product("sr", repeat=len(slots)):
        operands = [
            slot if place == "s" else register
            for place, slot, register in zip(places, slots, registers, strict=True)
        ]
        yield f"{name}:{''.join(places)}", f"({name} {' '.join(operands)})"


def _float_functions(width: int) -> Iterator[tuple[str, str]]:
    """Name and text of functions whose operands and results are bits."""
    integer, real = f"i{width}", f"f{width}"
    slots = ["(local.get $a)", "(local.get $b)"]
    registers = [f"({real}.reinterpret_{integer} (local.get {index}))" for index in range(2)]
    widen = "i64.extend_i32_u" if width == 64 else "i32.or (i32.const 0)"
    for names, arity, to_bits in (
        (_FLOAT_UNARY, 1, f"{integer}.reinterpret_{real}"),
        (_FLOAT_BINARY, 2, f"{integer}.reinterpret_{real}"),
        (_FLOAT_COMPARE, 2, widen),
    ):
        for name in names:
            for form, text in _placed(f"{real}.{name}", slots[:arity], registers[:arity]):
                yield form, f"({to_bits} {text})"


@pytest.mark.parametrize("width", [32, 64])
def test_float_operations(width: int) -> None:
    integer, real = f"i{width}", f"f{width}"
    bind = "".join(
        f"(local.set ${letter} ({real}.reinterpret_{integer} (local.get {index})))"
        for index, letter in enumerate("ab")
    )
    functions = dict(_float_functions(width))
    instances = _instances(
        "".join(
            f'(func (export "{name}") (param {integer} {integer}) (result {integer})'
            f" (local $a {real}) (local $b {real}) {bind} {text})"
            for name, text in functions.items()
        )
    )
    values = _float_bits(width)
    for name in functions:
        nans = 0 if name.split(":")[0][4:] in _FLOAT_COMPARE else width
        for arguments in itertools.product(values, values):
            _check(instances, name, arguments, nans)


@pytest.mark.parametrize("kind", ["i32", "i64"])
def test_integer_operations(kind: str) -> None:
    slots = ["(local.get 0)", "(local.get 1)"]
    registers = [f"({kind}.xor {slot} ({kind}.const 0))" for slot in slots]
    unary = [*_INTEGER_UNARY, *["extend32_s"] * (kind == "i64")]
    functions: dict[str, str] = {}
    for name in unary:
        functions.update(_placed(f"{kind}.{name}", slots[:1], registers[:1]))
    for name in _INTEGER_BINARY + _INTEGER_COMPARE:
        functions.update(_placed(f"{kind}.{name}", slots, registers))
    results = {
        name: "i32" if name.split(":")[0][4:] in _INTEGER_COMPARE else kind for name in functions
    }
    instances = _instances(
        "".join(
            f'(func (export "{name}") (param {kind} {kind}) (result {results[name]}) {text})'
            for name, text in functions.items()
        )
    )
    for name in functions:
        for arguments in itertools.product([*_SIGNED_INTEGERS[::2], -1, -(2**63)], _INTEGERS):
            _check(instances, name, arguments, 0)


def _conversions() -> Iterator[tuple[str, str, str]]:
    """Operand type, result type and name."""
    yield "f64", "f32", "f32.demote_f64"
    yield "f32", "f64", "f64.promote_f32"
    for integer, real, sign in itertools.product(("i32", "i64"), ("f32", "f64"), "su"):
        yield real, integer, f"{integer}.trunc_{real}_{sign}"
        yield real, integer, f"{integer}.trunc_sat_{real}_{sign}"
        yield integer, real, f"{real}.convert_{integer}_{sign}"


@pytest.mark.parametrize(("source", "target", "name"), [*_conversions()])
def test_conversions(source: str, target: str, name: str) -> None:
    bits_in, bits_out = int(source[1:]), int(target[1:])
    operand, result = "(local.get 0)", "RESULT"
    if source[0] == "f":
        operand = f"({source}.reinterpret_i{bits_in} {operand})"
    if target[0] == "f":
        result = f"(i{bits_out}.reinterpret_{target} RESULT)"
    register = result.replace("RESULT", f"({name} {operand})")
    texts = {
        "register": register,
        "slot": f"(local.set $x {operand}) " + result.replace("RESULT", f"({name} (local.get $x))"),
        # The first result is in the register, so the second goes to a slot.
        "to_slot": f"(i{bits_out}.and {register} {register})",
    }
    signature = f"(param i{bits_in}) (result i{bits_out}) (local $x {source})"
    instances = _instances(
        "".join(f'(func (export "{form}") {signature} {text})' for form, text in texts.items())
    )
    values = _SIGNED_INTEGERS
    if source[0] == "f":
        values = [bits + step for bits in _float_bits(bits_in) for step in (-1, 0, 1)]
        values = [bits for bits in values if not _is_signalling(bits, bits_in)]
    for form, value in itertools.product(texts, values):
        _check(instances, form, (value,), bits_out if target[0] == "f" else 0)


@pytest.mark.parametrize(
    "width",
    [
        64,
        pytest.param(
            32,
            marks=pytest.mark.xfail(
                reason="wasm3 keeps f32 values as f64, which makes a signalling NaN quiet"
            ),
        ),
    ],
)
def test_signalling_nans_are_moved_unchanged(width: int) -> None:
    text = f"(f{width}.store (i32.const 8) (f{width}.load (i32.const 0)))"
    engine = open_engine("wasm3")
    memory = engine.create_memory(MemoryType(1, 1))
    wasm = bytes(
        wat2wasm(f'(module (import "env" "memory" (memory 1)) (func (export "f") {text}))')
    )
    encoded = _SIGNALLING[width].to_bytes(width // 8, "little")
    view = memory.view()
    view[: width // 8] = encoded
    engine.instantiate(engine.compile(wasm), memory).function("f")()
    assert bytes(view[8 : 8 + width // 8]) == encoded


@pytest.mark.parametrize("name", ["ceil", "floor", "trunc", "nearest"])
@pytest.mark.xfail(reason="wasm3 rounds a signalling NaN to itself, not to a quiet one")
def test_rounding_makes_nans_quiet(name: str) -> None:
    text = f"(i64.reinterpret_f64 (f64.{name} (f64.reinterpret_i64 (local.get 0))))"
    ours, _ = _instances(f'(func (export "f") (param i64) (result i64) {text})')
    assert not _is_signalling(ours.function("f")(_SIGNALLING[64]) or 0, 64)
