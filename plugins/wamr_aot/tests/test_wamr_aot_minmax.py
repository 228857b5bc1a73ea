"""Minima of minima, as comparisons and selects: NaNs and the signs of zeros come out as written.

LLVM's instruction combiner merges two of them with one bound and forgets about NaNs.
"""

from __future__ import annotations

import itertools
import math
import operator
import struct
from typing import TYPE_CHECKING

import pytest
from wasmtime import wat2wasm

from iree_wasm_hal.engine import MemoryType, open_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from iree_wasm_hal.engine import Instance

PREDICATES: dict[str, Callable[[float, float], bool]] = {
    "lt": operator.lt,
    "gt": operator.gt,
    "le": operator.le,
    "ge": operator.ge,
}
# Bound of the inner select, bound of the outer one.
BOUNDS = [(0.0, 0.0), (-0.0, 0.0), (1.0, 1.0), (1.0, 2.0)]
VALUES = [math.nan, -math.nan, 0.0, -0.0, 0.5, 1.0, 1.5, 2.0, -1.0, math.inf, -math.inf]
# Predicate, whether the value is compared first, whether it is the first arm.
FORMS = list(itertools.product(PREDICATES, (True, False), (True, False)))
Form = tuple[str, bool, bool]


def bits(value: float) -> int:
    return int(struct.unpack("<i", struct.pack("<f", value))[0])


def choose(form: Form, value: float, bound: float) -> float:
    predicate, is_value_first, is_value_chosen = form
    pair = (value, bound) if is_value_first else (bound, value)
    return value if PREDICATES[predicate](*pair) == is_value_chosen else bound


def choose_text(form: Form, value: str, bound: float) -> str:
    predicate, is_value_first, is_value_chosen = form
    constant = f"(f32.const {bound})"
    pair = f"{value} {constant}" if is_value_first else f"{constant} {value}"
    arms = f"{value} {constant}" if is_value_chosen else f"{constant} {value}"
    return f"(select {arms} (f32.{predicate} {pair}))"


@pytest.fixture(scope="module", params=BOUNDS, ids=str)
def case(request: pytest.FixtureRequest) -> Iterator[tuple[Instance, tuple[float, float]]]:
    inner_bound, outer_bound = request.param
    functions = []
    for number, (inner, outer) in enumerate(itertools.product(FORMS, FORMS)):
        inner_text = choose_text(inner, "(local.get $m)", inner_bound)
        functions.append(
            f"""(func (export "f{number}") (param $bits i32) (result i32)
              (local $m f32) (local $n f32)
              (local.set $m (f32.reinterpret_i32 (local.get $bits)))
              (local.set $n {inner_text})
              (i32.reinterpret_f32 {choose_text(outer, "(local.get $n)", outer_bound)}))"""
        )
    text = f'(module (import "env" "memory" (memory 1 1)) {" ".join(functions)})'
    engine = open_engine("wamr-aot")
    memory = engine.create_memory(MemoryType(1, 1))
    yield engine.instantiate(engine.compile(bytes(wat2wasm(text))), memory), request.param
    engine.close()


def test_scalars(case: tuple[Instance, tuple[float, float]]) -> None:
    instance, (inner_bound, outer_bound) = case
    wrong = []
    for number, (inner, outer) in enumerate(itertools.product(FORMS, FORMS)):
        function = instance.function(f"f{number}")
        for value in VALUES:
            expected = choose(outer, choose(inner, value, inner_bound), outer_bound)
            if function(bits(value)) != bits(expected):
                wrong.append((inner, outer, value, function(bits(value)), expected))
    assert not wrong


@pytest.mark.parametrize("operation", ["f32x4.pmin", "f32x4.pmax"])
@pytest.mark.parametrize("is_bound_first", [True, False])
def test_vectors(operation: str, is_bound_first: bool) -> None:
    # pmin(a, b) is b < a ? b : a; pmax(a, b) is a < b ? b : a.
    bound = "(v128.const f32x4 1 1 1 1)"
    inner = f"({operation} (f32x4.splat (f32.reinterpret_i32 (local.get 0))) {bound})"
    outer = f"({operation} {bound} {inner})" if is_bound_first else f"({operation} {inner} {bound})"
    text = f"""(module (import "env" "memory" (memory 1 1))
      (func (export "f") (param i32) (result i32) (i32x4.extract_lane 3 {outer})))"""

    def chosen(first: float, second: float) -> float:
        is_less = second < first if operation == "f32x4.pmin" else first < second
        return second if is_less else first

    engine = open_engine("wamr-aot")
    program = engine.compile(bytes(wat2wasm(text)))
    function = engine.instantiate(program, engine.create_memory(MemoryType(1, 1))).function("f")
    for value in VALUES:
        merged = chosen(value, 1.0)
        expected = chosen(1.0, merged) if is_bound_first else chosen(merged, 1.0)
        assert function(bits(value)) == bits(expected), value
    engine.close()
