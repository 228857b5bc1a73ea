"""What is particular to this plugin: traps, functions, memories, lifetimes, threads."""

from __future__ import annotations

import gc
import weakref
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from wasmtime import wat2wasm

from iree_wasm_hal.engine import Feature, Instance, MemoryType, TrapKind, open_engine
from iree_wasm_hal.engine.conformance.background import run_in_thread
from iree_wasm_hal.engine.conformance.suite import load_module
from iree_wasm_hal.errors import (
    ArgumentError,
    ClosedError,
    EngineError,
    LimitError,
    TrapError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iree_wasm_hal.engine import Engine, Memory

SMALL = MemoryType(1, 16)


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = open_engine("jsc")
    yield engine
    engine.close()


def instantiate(engine: Engine, text: str) -> Instance:
    wasm = wat2wasm(f'(module (import "env" "memory" (memory 1 65536)) {text})')
    return engine.instantiate(engine.compile(bytes(wasm)), engine.create_memory(SMALL))


def load(engine: Engine, module: str) -> Instance:
    return engine.instantiate(engine.compile(load_module(module)), engine.create_memory(SMALL))


# Traps


def test_frames_have_names_or_numbers(engine: Engine) -> None:
    text = """(func (unreachable)) (func $named (call 0))
        (func (export "f") (call $named) (nop))"""
    with pytest.raises(TrapError) as caught:
        instantiate(engine, text).function("f")()
    assert caught.value.frames == ("function 0", "named", "function 2")
    assert str(caught.value) == "'f' trapped in 'function 0': unreachable"


def test_uncaught_exception_is_a_trap(engine: Engine) -> None:
    instance = instantiate(engine, '(tag $t) (func (export "f") (throw $t))')
    for _ in range(3):
        with pytest.raises(TrapError) as caught:
            instance.function("f")()
        assert caught.value.kind == TrapKind.UNCAUGHT_EXCEPTION


def test_table_access_out_of_bounds(engine: Engine) -> None:
    text = '(table 1 funcref) (func (export "f") (drop (table.get (i32.const 9))))'
    with pytest.raises(TrapError) as caught:
        instantiate(engine, text).function("f")()
    assert caught.value.kind == "out of bounds table access"


@pytest.mark.parametrize("kib", [128, 256, 512, 2048, 8192, 65536])
def test_recursion_traps_whatever_the_stack(engine: Engine, kib: int) -> None:
    instance = load(engine, "traps")
    recurse, fine = instance.function("recurse"), instance.function("call_indirect")
    for _ in range(3):
        with pytest.raises(TrapError) as caught:
            run_in_thread(partial(recurse, 0), stack_byte_length=kib * 1024).result()
        assert caught.value.kind == TrapKind.STACK_EXHAUSTED
        with pytest.raises(TrapError):
            recurse(0)
        assert fine(0) == 42


def test_traps_in_every_tier(engine: Engine) -> None:
    """The same function, cold in the interpreter and hot in the optimising compiler."""
    text = """(func (export "sum") (param $at i32) (param $end i32) (result i32) (local $sum i32)
      (loop $next
        (local.set $sum (i32.add (local.get $sum) (i32.load8_u (local.get $at))))
        (br_if $next
          (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (local.get $end))))
      (local.get $sum))"""
    total = instantiate(engine, text).function("sum")
    for iterations in (1, 10, 100, 1000):
        for _ in range(iterations):
            assert total(0, 65536) == 0
        with pytest.raises(TrapError) as caught:
            total(0, 65537)
        assert caught.value.kind == TrapKind.OUT_OF_BOUNDS_MEMORY


def test_relaxed_madd_is_the_same_in_every_tier(engine: Engine) -> None:
    text = """(func (export "f") (param $end i32) (local $at i32)
      (loop $next
        (v128.store offset=49152 (local.get $at)
          (f32x4.relaxed_madd (v128.load (local.get $at)) (v128.load offset=16384 (local.get $at))
            (v128.load offset=32768 (local.get $at))))
        (br_if $next
          (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 16))) (local.get $end)))))"""
    memory = engine.create_memory(SMALL)
    wasm = wat2wasm(f'(module (import "env" "memory" (memory 1 65536)) {text})')
    function = engine.instantiate(engine.compile(bytes(wasm)), memory).function("f")
    operands = np.random.default_rng(3).standard_normal(3 * 4096).astype(np.float32)
    memory.view()[:49152] = operands.tobytes()
    results = set()
    for _ in range(500):
        memory.view()[49152:65536] = bytes(16384)
        function(16384)
        results.add(bytes(memory.view()[49152:65536]))
    assert len(results) == 1


# Functions


@pytest.mark.parametrize(
    "text",
    ['(func (export "f") (param f32))', '(func (export "f") (result i32 i32) unreachable)'],
    ids=["float", "two_results"],
)
def test_only_integer_functions(engine: Engine, text: str) -> None:
    instance = instantiate(engine, text)
    with pytest.raises(EngineError, match=r"'f' .*expected only i32 and i64"):
        instance.function("f")


def test_other_exports_are_no_functions(engine: Engine) -> None:
    text = """(export "m" (memory 0)) (global (export "g") i32 (i32.const 1))
        (table (export "t") 1 funcref)"""
    instance = instantiate(engine, text)
    for name in "mgt":
        with pytest.raises(EngineError, match=f"exports no function '{name}'"):
            instance.function(name)


@pytest.mark.parametrize(
    "name", ["__proto__", "constructor", "then", "0", "", "naïve 🦊", "a'b\\`${}"]
)
def test_any_name_may_be_exported(engine: Engine, name: str) -> None:
    literal = "".join(f"\\{byte:02x}" for byte in name.encode())
    text = f'(func (export "{literal}") (param i64) (result i64) (local.get 0))'
    assert instantiate(engine, text).function(name)(-(2**63)) == -(2**63)


def test_many_parameters(engine: Engine) -> None:
    count = 900
    total = " ".join(f"(local.get {index}) i64.add" for index in range(count))
    text = f'(func (export "f") (param {"i64 " * count}) (result i64) (i64.const 0) {total})'
    assert instantiate(engine, text).function("f")(*range(count)) == sum(range(count))


def test_arguments_must_be_integers(engine: Engine) -> None:
    add = load(engine, "integers").function("i32_add")
    for wrong in (1.5, "1", None):
        with pytest.raises(ArgumentError, match=r"'i32_add'"):
            add(1, wrong)
    assert add(1, 2) == 3


# Memories


def test_memories_that_fit_at_a_time(engine: Engine) -> None:
    memories: list[Memory] = []

    def fill() -> None:
        while len(memories) < 100:
            memories.append(engine.create_memory(MemoryType(1, 65536)))

    with pytest.raises(LimitError, match="GIGACAGE_ENABLED=0") as caught:
        fill()
    assert caught.value.name == "address space"
    assert len(memories) >= 8
    memories.pop().close()
    again = engine.create_memory(MemoryType(1, 65536))
    again.grow(5)
    assert again.view()[6 * 65536 - 1] == 0
    for memory in [*memories, again]:  # the error's traceback holds them, and the cage is full
        memory.close()


def test_memory_of_no_pages_grows(engine: Engine) -> None:
    memory = engine.create_memory(MemoryType(0, 4))
    assert memory.view().nbytes == 0
    memory.grow(2)
    memory.view()[2 * 65536 - 1] = 3
    assert memory.page_count == 2


def test_growth_by_the_program_is_seen(engine: Engine) -> None:
    text = '(func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))'
    memory = engine.create_memory(SMALL)
    wasm = wat2wasm(f'(module (import "env" "memory" (memory 1 65536)) {text})')
    grow = engine.instantiate(engine.compile(bytes(wasm)), memory).function("grow")
    view = memory.view()
    view[9] = 1
    assert grow(3) == 1
    assert memory.page_count == 4
    assert memory.view()[9] == 1
    assert grow(13) == -1


# Lifetimes and threads


def test_giving_up_does_not_wait_for_a_call(engine: Engine) -> None:
    """Of an engine with one lock; what was given up goes when the call is over."""
    memory = engine.create_memory(SMALL)
    spin = engine.instantiate(engine.compile(load_module("loops")), memory).function("spin")
    other, spare = load(engine, "integers"), engine.create_memory(SMALL)
    constant = other.function("constant")
    running = run_in_thread(partial(spin, 0, 400_000_000))
    view = memory.view()
    del spare
    other.close()
    assert memory.page_count == 1
    memory.close()
    engine.close()
    assert not running.wait(0), "the call was over too soon to show anything"
    with pytest.raises(ClosedError):
        constant()
    running.result()
    assert view.nbytes == 65536


def test_threads_in_one_engine_and_in_several() -> None:
    engines = [open_engine("jsc") for _ in range(3)]
    targets = [engines[0], engines[0], *engines]
    functions = [load(engine, "memory").function("generate") for engine in targets]

    def compute(index: int) -> None:
        for _ in range(300):
            functions[index](0, 4096, 1)

    def churn() -> None:
        for _ in range(200):
            instance = load(engines[0], "integers")
            assert instance.function("i32_add")(40, 2) == 42

    calls = [run_in_thread(partial(compute, index)) for index in range(len(functions))]
    for call in [*calls, run_in_thread(churn), run_in_thread(churn)]:
        call.result()


def test_garbage_in_cycles_in_any_order() -> None:
    """Python finalizes the members of a cycle in no particular order."""
    gone = []
    for _ in range(20):
        engine = open_engine("jsc")
        memory = engine.create_memory(SMALL)
        instance = engine.instantiate(engine.compile(load_module("integers")), memory)
        function = instance.function("constant")
        cycle: list[object] = [engine, memory, instance, function, memory.view()]
        cycle.append(cycle)
        gone.append(weakref.ref(engine))
        del engine, memory, instance, function, cycle
        gc.collect()
    assert not any(reference() for reference in gone)


def _resident_and_mapped_kib() -> tuple[int, int]:
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]), int(fields["VmSize"].split()[0])


def _thread_count() -> int:
    return len([*Path("/proc/self/task").iterdir()])


def test_nothing_leaks(engine: Engine) -> None:
    wasm = load_module("traps")

    def use() -> None:
        memory = engine.create_memory(MemoryType(16, 65536))
        view = memory.view()
        view[:] = b"\1" * len(view)
        instance = engine.instantiate(engine.compile(wasm), memory)
        with pytest.raises(TrapError):
            instance.function("unreachable")()
        memory.grow(1)

    for _ in range(100):
        use()
    gc.collect()
    resident, mapped = _resident_and_mapped_kib()
    for _ in range(1000):
        use()
    gc.collect()
    resident_after, mapped_after = _resident_and_mapped_kib()
    # Each leaked memory would be 1 MiB resident and 4 GiB mapped.
    assert resident_after - resident < 32 * 1024
    assert mapped_after - mapped < 2**20


def test_engines_come_and_go() -> None:
    def use() -> None:
        engine = open_engine("jsc")
        view = engine.create_memory(MemoryType(160, 65536)).view()
        view[:] = b"\1" * len(view)

    for _ in range(3):
        use()
    resident, mapped = _resident_and_mapped_kib()
    threads = _thread_count()
    for _ in range(30):
        use()
    resident_after, mapped_after = _resident_and_mapped_kib()
    assert _thread_count() - threads < 10  # one that was just ended may be there yet
    assert resident_after - resident < 32 * 1024
    assert mapped_after - mapped < 2**20


def test_missing_abilities_have_reasons(engine: Engine) -> None:
    missing = set(Feature) - engine.info.features
    assert set(engine.info.notes) == missing
