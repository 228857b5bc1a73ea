"""Relaxed SIMD against the results that its specification allows, computed with numpy.

Every instruction runs over blocks of neighbouring vectors, so that the compiler may merge them into
wider ones, and on constants, which it may compute itself.

Spec: https://github.com/WebAssembly/relaxed-simd/blob/main/proposals/relaxed-simd/Overview.md
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from relaxed_results import INSTRUCTIONS, Instruction, fused
from wasmtime import wat2wasm

from iree_wasm_hal.engine import MemoryType, open_engine
from iree_wasm_hal.errors import WasmCompileError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relaxed_results import Array

    from iree_wasm_hal.engine import Engine

_PAGES = 24
_BLOCK = 8  # vectors in a row
_OPERANDS = (0x20000, 0x60000, 0xA0000)
_RESULT = 0xE0000
_MAX_BYTE_LENGTH = 0x40000


@pytest.fixture(params=[128, "auto"], ids=["narrow", "widest"], scope="module")
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    engine = open_engine("wamr-aot", vector_bits=request.param)
    yield engine
    engine.close()


def _module(text: str) -> bytes:
    return bytes(wat2wasm(f'(module (import "env" "memory" (memory {_PAGES} {_PAGES})) {text})'))


def _loop(body: str) -> bytes:
    """A module that runs a body of unrolled stores for each block."""
    return _module(
        f"""(func (export "run") (param $at i32) (param $end i32)
          (loop $blocks {body}
            (local.set $at (i32.add (local.get $at) (i32.const {_BLOCK * 16})))
            (br_if $blocks (i32.lt_u (local.get $at) (local.get $end)))))"""
    )


def _vectors(expression: str, operand_count: int) -> bytes:
    """Applies an expression of ``$0``, ``$1``, ``$2`` to every vector of the operands."""
    body = []
    for index in range(_BLOCK):
        value = expression
        for number in range(operand_count):
            load = f"(v128.load offset={_OPERANDS[number] + 16 * index} (local.get $at))"
            value = value.replace(f"${number}", load)
        body.append(f"(v128.store offset={_RESULT + 16 * index} (local.get $at) {value})")
    return _loop(" ".join(body))


def _scalars(expression: str, prefix: str, byte_length: int) -> bytes:
    """The same for every lane."""
    body = []
    for at in range(0, _BLOCK * 16, byte_length):
        value = expression
        for number, begin in enumerate(_OPERANDS):
            load = f"({prefix}.load offset={begin + at} (local.get $at))"
            value = value.replace(f"${number}", load)
        body.append(f"({prefix}.store offset={_RESULT + at} (local.get $at) {value})")
    return _loop(" ".join(body))


def _run(
    engine: Engine, wasm: bytes, operands: tuple[Array, ...], result: type[np.generic]
) -> Array:
    """Runs a module over operands of any equal length."""
    byte_length = operands[0].nbytes
    padded = -(-byte_length // (_BLOCK * 16)) * _BLOCK * 16
    assert padded <= _MAX_BYTE_LENGTH
    program = engine.compile(wasm)
    memory = engine.create_memory(MemoryType(_PAGES, _PAGES))
    view = np.frombuffer(memory.view(), np.uint8)
    for begin, operand in zip(_OPERANDS, operands, strict=False):
        view[begin : begin + byte_length] = operand.view(np.uint8)
    engine.instantiate(program, memory).function("run")(0, padded)
    return view[_RESULT : _RESULT + byte_length].copy().view(result)


@pytest.mark.parametrize("instruction", INSTRUCTIONS, ids=lambda one: one.name)
class TestInstructions:
    def test_result_is_an_allowed_one(self, engine: Engine, instruction: Instruction) -> None:
        operands = instruction.operands()
        found = _apply(engine, instruction, operands)
        allowed = np.zeros(found.shape, bool)
        for alternative in instruction.alternatives(*operands):
            allowed |= _same(found, alternative)
        wrong = np.flatnonzero(~allowed)[:5]
        assert allowed.all(), (instruction.name, wrong, found[wrong])

    def test_constants_give_the_same(self, engine: Engine, instruction: Instruction) -> None:
        operands = tuple(_spread(one, 24) for one in instruction.operands())
        wasm = _on_constants(instruction, operands)
        found = _run(engine, wasm, (np.zeros(24 * 16, np.uint8),), instruction.result)
        assert _same(found, _apply(engine, instruction, operands)).all()


def _apply(engine: Engine, instruction: Instruction, operands: tuple[Array, ...]) -> Array:
    names = " ".join(f"${number}" for number in range(len(operands)))
    wasm = _vectors(f"({instruction.name} {names})", len(operands))
    return _run(engine, wasm, operands, instruction.result)


def _on_constants(instruction: Instruction, operands: tuple[Array, ...]) -> bytes:
    stores = []
    for index in range(24):
        constants = []
        for operand in operands:
            lanes = operand.view(np.uint8)[16 * index : 16 * (index + 1)]
            constants.append(f"(v128.const i8x16 {' '.join(map(str, lanes))})")
        value = f"({instruction.name} {' '.join(constants)})"
        stores.append(f"(v128.store offset={_RESULT + 16 * index} (i32.const 0) {value})")
    return _module(f'(func (export "run") (param i32) (param i32) {" ".join(stores)})')


def _spread(operand: Array, count: int) -> Array:
    """That many vectors out of all."""
    vectors = operand.view(np.uint8).reshape(-1, 16)
    chosen: Array = vectors[np.linspace(0, len(vectors) - 1, count).astype(int)]
    return chosen.reshape(-1)


def _same(found: Array, expected: Array) -> Array:
    """Lanes of equal bits; any NaN is as good as another."""
    bits = f"u{found.dtype.itemsize}"
    same: Array = found.view(bits) == expected.view(bits)
    if found.dtype.kind == "f":
        same |= np.isnan(found) & np.isnan(expected)
    return same


@pytest.mark.parametrize(("kind", "shape"), [(np.float32, "f32x4"), (np.float64, "f64x2")])
class TestContraction:
    def _operands(self, kind: type[np.generic]) -> tuple[Array, Array, Array]:
        random = np.random.default_rng(3)
        a, b = (random.normal(size=8192).astype(kind) for _ in range(2))
        return a, b, (a * b * random.choice([-1, 1], 8192)).astype(kind)

    def test_madd_rounds_once(self, engine: Engine, kind: type[np.generic], shape: str) -> None:
        if " fma " not in Path("/proc/cpuinfo").read_text():
            pytest.skip("this CPU has no fused multiply-add")
        a, b, c = self._operands(kind)
        for name, sign in (("madd", 1), ("nmadd", -1)):
            wasm = _vectors(f"({shape}.relaxed_{name} $0 $1 $2)", 3)
            assert _same(_run(engine, wasm, (a, b, c), kind), fused(sign * a, b, c)).all()

    @pytest.mark.parametrize("expression", ["add (mul $0 $1) $2", "sub $2 (mul $0 $1)"])
    def test_mul_and_add_round_twice(
        self, engine: Engine, kind: type[np.generic], shape: str, expression: str
    ) -> None:
        a, b, c = self._operands(kind)
        is_add = expression.startswith("add")
        expected = a * b + c if is_add else c - a * b
        once = fused(a if is_add else -a, b, c)
        assert np.mean(_same(expected, once)) < 0.9  # they can be told apart
        plain = _vectors(_with_types(expression, shape), 3)
        assert _same(_run(engine, plain, (a, b, c), kind), expected).all()
        scalars = _scalars(_with_types(expression, shape[:3]), shape[:3], a.itemsize)
        assert _same(_run(engine, scalars, (a, b, c), kind), expected).all()

    def test_not_beside_madd_either(
        self, engine: Engine, kind: type[np.generic], shape: str
    ) -> None:
        a, b, c = self._operands(kind)
        # (a * b + c) - madd(a, b, c) is the difference between two roundings and one.
        plain = f"({shape}.add ({shape}.mul $0 $1) $2)"
        wasm = _vectors(f"({shape}.sub {plain} ({shape}.relaxed_madd $0 $1 $2))", 3)
        one_rounding = _run(
            engine, _vectors(f"({shape}.relaxed_madd $0 $1 $2)", 3), (a, b, c), kind
        )
        assert _same(_run(engine, wasm, (a, b, c), kind), (a * b + c) - one_rounding).all()


def _with_types(expression: str, prefix: str) -> str:
    for name in ("add", "sub", "mul"):
        expression = expression.replace(f"{name} ", f"{prefix}.{name} ")
    return f"({expression})"


_STRICT = {
    "i32x4.relaxed_trunc_f32x4_s": "i32x4.trunc_sat_f32x4_s",
    "i32x4.relaxed_trunc_f32x4_u": "i32x4.trunc_sat_f32x4_u",
    "f32x4.relaxed_min": "f32x4.min",
    "f32x4.relaxed_max": "f32x4.max",
    "f64x2.relaxed_min": "f64x2.min",
    "f64x2.relaxed_max": "f64x2.max",
}


@pytest.mark.parametrize("name", _STRICT)
def test_strict_counterpart(engine: Engine, name: str) -> None:
    """The lowering of these is ours, too, in place of WAMR's; merged as well."""
    instruction = next(one for one in INSTRUCTIONS if one.name == name)
    operands = instruction.operands()
    arguments = " ".join(f"${number}" for number in range(len(operands)))
    wasm = _vectors(f"({_STRICT[name]} {arguments})", len(operands))
    found = _run(engine, wasm, operands, instruction.result)
    assert _same(found, instruction.alternatives(*operands)[0]).all()


@pytest.mark.parametrize(
    ("shape", "bits", "quiet"),
    [("f32x4", 0x7FA00000, 0x400000), ("f64x2", 0x7FF4000000000000, 0x8000000000000)],
)
@pytest.mark.parametrize(
    "expression",
    ["add $0 -0", "sub $0 0", "mul $0 1", "mul 1 $0", "div $0 1", "min $0 0", "max $0 $0"],
)
def test_signalling_nan_becomes_quiet(
    engine: Engine, shape: str, bits: int, quiet: int, expression: str
) -> None:
    name, *operands = expression.split()
    lanes = int(shape[-1])
    operands = [
        one if one == "$0" else f"(v128.const {shape} {' '.join([one] * lanes)})"
        for one in operands
    ]
    kind = np.uint32 if lanes == 4 else np.uint64
    wasm = _vectors(f"({shape}.{name} {' '.join(operands)})", 1)
    found = _run(engine, wasm, (np.full(8 * lanes, bits, kind),), kind)
    exponent = kind(bits & ~(quiet - 1) & ~(quiet >> 1)) & ~kind(quiet)
    assert (found & exponent == exponent).all()
    assert (found & kind(quiet) != 0).all()


class TestModules:
    def test_instructions_in_branches(self, engine: Engine) -> None:
        # The compiler skips over a block's instructions to find where it ends.
        load, other = (f"(v128.load (i32.const {begin}))" for begin in _OPERANDS[:2])
        wasm = _module(
            f"""(func (export "run") (param $which i32) (param i32)
              (v128.store (i32.const {_RESULT})
                (block $done (result v128)
                  (if (result v128) (local.get $which)
                    (then (i8x16.relaxed_swizzle {load} {other}))
                    (else (br $done (f32x4.relaxed_madd {load} {other} {load})))))))"""
        )
        memory = engine.create_memory(MemoryType(_PAGES, _PAGES))
        view = np.frombuffer(memory.view(), np.uint8)
        view[_OPERANDS[0] : _OPERANDS[0] + 16] = np.arange(16)
        view[_OPERANDS[1] : _OPERANDS[1] + 16] = np.arange(16)[::-1]
        run = engine.instantiate(engine.compile(wasm), memory).function("run")
        run(1, 0)
        assert view[_RESULT : _RESULT + 16].tolist() == list(range(15, -1, -1))
        run(0, 0)
        a, b = (view[begin : begin + 16].view(np.float32) for begin in _OPERANDS[:2])
        assert _same(view[_RESULT : _RESULT + 16].view(np.float32), fused(a, b, a)).all()

    @pytest.mark.parametrize(
        ("right", "wrong"),
        [
            ("i8x16.relaxed_swizzle $0 $1", "i8x16.relaxed_swizzle $0 (i32.const 1)"),
            ("f32x4.relaxed_madd $0 $1 $2", "f32x4.relaxed_madd $0 $1"),
            ("i32x4.relaxed_trunc_f32x4_s $0", "i32x4.relaxed_trunc_f32x4_s (f32.const 1)"),
        ],
    )
    def test_operands_of_other_types_are_refused(
        self, engine: Engine, right: str, wrong: str
    ) -> None:
        engine.compile(_vectors(f"({right})", 3)).close()
        with pytest.raises(WasmCompileError, match="type mismatch"):
            engine.compile(_vectors(f"({wrong})", 3))

    @pytest.mark.parametrize("number", [0x114, 0x12F, 0x200])
    def test_unknown_instructions_are_refused(self, engine: Engine, number: int) -> None:
        wasm = _vectors("(i8x16.relaxed_swizzle $0 $1)", 2)
        swizzle, unknown = (bytes([0xFD, one & 0x7F | 0x80, one >> 7]) for one in (0x100, number))
        with pytest.raises(WasmCompileError, match=r"invalid opcode 0xfd"):
            engine.compile(wasm.replace(swizzle, unknown))
