"""Indices of tables that are sums: they wrap at 32 bits.

Constants are taken out of the sums that address the linear memory, whose guard pages make that
right. A table has none: a constant taken out of its index would reach beyond it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from wasmtime import wat2wasm

from iree_wasm_hal.engine import MemoryType, open_engine
from iree_wasm_hal.errors import TrapError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from iree_wasm_hal.engine import Instance

SIZE, FILLED = 16, 8
SUMS: dict[str, Callable[[int], int]] = {
    "(i32.add (local.get $i) (i32.const 3))": lambda i: i + 3,
    "(i32.add (local.get $i) (i32.const -5))": lambda i: i - 5,
    "(i32.add (i32.shl (local.get $i) (i32.const 2)) (i32.const 4))": lambda i: 4 * i + 4,
    "(i32.or (i32.shl (local.get $i) (i32.const 2)) (i32.const 1))": lambda i: 4 * i | 1,
}
ARGUMENTS = [*range(9), -1, -2, -3, -4, 2**30 - 1, 2**30, 2**31 - 1, -(2**31)]


@pytest.fixture(scope="module", params=SUMS, ids=range(len(SUMS)))
def case(request: pytest.FixtureRequest) -> Iterator[tuple[Instance, Callable[[int], int]]]:
    entries = " ".join(f"$f{number}" for number in range(FILLED))
    functions = " ".join(
        f"(func $f{number} (result i32) (i32.const {10 * number}))" for number in range(FILLED)
    )
    module = wat2wasm(
        f"""(module (import "env" "memory" (memory 1 1)) (type $t (func (result i32)))
          (table {SIZE} funcref) (elem (i32.const 0) {entries}) {functions}
          (func (export "call") (param $i i32) (result i32)
            (call_indirect (type $t) {request.param}))
          (func (export "is_null") (param $i i32) (result i32)
            (ref.is_null (table.get 0 {request.param}))))"""
    )
    engine = open_engine("wamr-aot")
    memory = engine.create_memory(MemoryType(1, 1, shared=False))
    instance = engine.instantiate(engine.compile(bytes(module)), memory)
    yield instance, SUMS[request.param]
    instance.close()
    memory.close()


def test_indirect_calls(case: tuple[Instance, Callable[[int], int]]) -> None:
    instance, index_of = case
    call = instance.function("call")
    for argument in ARGUMENTS:
        index = index_of(argument) % 2**32
        if index < FILLED:
            assert call(argument) == 10 * index
            continue
        with pytest.raises(TrapError):
            call(argument)


def test_reading_a_table(case: tuple[Instance, Callable[[int], int]]) -> None:
    instance, index_of = case
    is_null = instance.function("is_null")
    for argument in ARGUMENTS:
        index = index_of(argument) % 2**32
        if index < SIZE:
            assert is_null(argument) == (index >= FILLED)
            continue
        with pytest.raises(TrapError):
            is_null(argument)
