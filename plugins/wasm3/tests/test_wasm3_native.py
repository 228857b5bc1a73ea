"""What is particular to this plugin: memory, stacks, functions, lifetime."""

from __future__ import annotations

import gc
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from wasmtime import wat2wasm

from iree_wasm_hal.engine import Feature, Instance, MemoryModel, MemoryType, TrapKind, open_engine
from iree_wasm_hal.engine.conformance.background import run_in_thread, wait_for_byte
from iree_wasm_hal.engine.conformance.suite import load_module
from iree_wasm_hal.errors import (
    ArgumentError,
    EngineError,
    TrapError,
    WasmCompileError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from iree_wasm_hal.engine import Engine, Memory

SMALL = MemoryType(1, 4)
_TWO_MIB = 2 * 1024**2


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = open_engine("wasm3")
    yield engine
    engine.close()


def _wasm(text: str) -> bytes:
    return bytes(wat2wasm(f'(module (import "env" "memory" (memory 1 65536)) {text})'))


def _instance(engine: Engine, text: str, memory: Memory | None = None) -> Instance:
    program = engine.compile(_wasm(text))
    return engine.instantiate(program, memory or engine.create_memory(SMALL))


def _shipped(engine: Engine, module: str) -> Instance:
    return engine.instantiate(engine.compile(load_module(module)), engine.create_memory(SMALL))


def test_features_and_reasons(engine: Engine) -> None:
    expected = {Feature.BULK_MEMORY, Feature.SIGN_EXTENSION, Feature.NONTRAPPING_FPTOINT}
    assert engine.info.features == expected
    assert set(engine.info.notes) == set(Feature) - expected
    assert engine.info.memory_model is MemoryModel.OWNS


_RECURSIONS = {
    "plain": '(func $f (export "f") (call $f))',
    "indirect": """(table 1 funcref) (elem (i32.const 0) $f) (type $t (func))
      (func $f (export "f") (call_indirect (type $t) (i32.const 0)))""",
    "from_loops": f"""(func $f (export "f") {"(loop " * 40} (call $f) {")" * 40})""",
    "mutual": """(func $f (export "f") (loop (loop (call $g))))
      (func $g (local f64 f64 f64 f64) (loop (loop (loop (call $f)))))""",
    "large_frames": f"""(func $f (export "f") (local {"i64 " * 900}) (call $f))""",
    "many_arguments": f"""(func (export "f") (call $g {"(i64.const 1) " * 200}))
      (func $g (param {"i64 " * 200})
      (call $g {" ".join(f"(local.get {index})" for index in range(200))}))""",
    "floats": """(func (export "f") (drop (call $g (f64.const 1))))
      (func $g (param f64) (result f64)
        (f64.add (call $g (f64.mul (local.get 0) (f64.const 3)))
                 (call $g (f64.load (i32.const 8)))))""",
}


@pytest.mark.parametrize("text", _RECURSIONS.values(), ids=_RECURSIONS.keys())
@pytest.mark.parametrize("where", ["main", "2_mib"])
def test_runaway_recursion_traps(engine: Engine, text: str, where: str) -> None:
    function = _instance(engine, text).function("f")
    for _ in range(3):
        call = function
        if where != "main":
            call = run_in_thread(function, stack_byte_length=_TWO_MIB).result
        with pytest.raises(TrapError) as caught:
            call()
        assert caught.value.kind == TrapKind.STACK_EXHAUSTED
        assert len(caught.value.frames) <= 64


# glibc hands out the stacks of ended threads again, up to four times as large.
@pytest.mark.parametrize("byte_length", [256 * 1024, 400 * 1024])
def test_small_stacks_are_refused(engine: Engine, byte_length: int) -> None:
    recurse = _shipped(engine, "traps").function("recurse")
    uses: list[Callable[[], object]] = [partial(recurse, 0)]
    uses.append(partial(engine.compile, load_module("memory")))
    for use in uses:
        with pytest.raises(EngineError, match=r"stack of \d+ .*2097152 or more.*stack_"):
            run_in_thread(use, stack_byte_length=byte_length).result()


@pytest.mark.parametrize(
    "text", ['(func (export "f") (param f32))', '(func (export "f") (result f64) unreachable)']
)
def test_only_integer_functions(engine: Engine, text: str) -> None:
    with pytest.raises(EngineError, match=r"'f' .*expected only i32 and i64"):
        _instance(engine, text).function("f")


def test_exported_memory_is_no_function(engine: Engine) -> None:
    text = '(export "m" (memory 0)) (global (export "g") i32 (i32.const 1))'
    instance = _instance(engine, text)
    for name in "mg":
        with pytest.raises(EngineError, match=f"exports no function '{name}'"):
            instance.function(name)


def test_arguments_must_be_integers(engine: Engine) -> None:
    add = _shipped(engine, "integers").function("i32_add")
    for wrong in (1.5, "1", None):
        with pytest.raises(ArgumentError, match=r"'i32_add'"):
            add(1, wrong)
    assert add(1, 2) == 3


def test_names_are_no_concern_of_wasm3s(engine: Engine) -> None:
    """It keeps three names per function, ends them at a null and refuses long ones."""
    names = ["a", "b", "c", "d", "e\0f", "", "ü", "x" * 20_000]
    exports = " ".join(
        '(export "' + "".join(f"\\{byte:02x}" for byte in name.encode()) + '")' for name in names
    )
    instance = _instance(engine, f"(func {exports} (result i32) (i32.const 7))")
    assert [instance.function(name)() for name in names] == [7] * len(names)


def test_memory_grow_is_refused(engine: Engine) -> None:
    with pytest.raises(WasmCompileError, match=r"memory.grow at byte offset 0x\w+: .*move"):
        engine.compile(_wasm("(func (drop (memory.grow (i32.const 1))))"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(func $s) (start $s)", r"has a start function"),
        ('(data (i32.const 0) "a")', r"has data segments"),
    ],
)
def test_programs_must_do_nothing_by_themselves(engine: Engine, text: str, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        _instance(engine, text)


@pytest.mark.parametrize(
    "wasm", [wat2wasm("(module)"), wat2wasm("(module (memory 1))")], ids=["none", "own"]
)
def test_memory_must_be_imported(engine: Engine, wasm: bytearray) -> None:
    program = engine.compile(bytes(wasm))
    with pytest.raises(EngineError, match=r"imports nothing; expected exactly the memory"):
        engine.instantiate(program, engine.create_memory(SMALL))


def test_smaller_maximum_does_not_fit(engine: Engine) -> None:
    wasm = bytes(wat2wasm('(module (import "env" "memory" (memory 1 2)))'))
    with pytest.raises(EngineError, match=r"imports 1 to 2 pages; the memory has 1 to 4"):
        engine.instantiate(engine.compile(wasm), engine.create_memory(SMALL))


def test_table_is_as_large_as_declared(engine: Engine) -> None:
    """wasm3 reads no table section: its table would end with the last segment."""
    text = """(table 10 funcref) (elem (i32.const 1) $f) (type $t (func (result i32)))
      (func $f (result i32) (i32.const 5))
      (func (export "call") (param i32) (result i32) (call_indirect (type $t) (local.get 0)))"""
    call = _instance(engine, text).function("call")
    assert call(1) == 5
    for index, kind in ((0, TrapKind.UNINITIALIZED_ELEMENT), (9, TrapKind.UNINITIALIZED_ELEMENT)):
        with pytest.raises(TrapError) as caught:
            call(index)
        assert caught.value.kind == kind
    with pytest.raises(TrapError) as caught:
        call(10)
    assert caught.value.kind == TrapKind.UNDEFINED_ELEMENT


@pytest.mark.parametrize("offset", [1, 1000, -1])
def test_elements_outside_the_table(engine: Engine, offset: int) -> None:
    text = f"(table 1 funcref) (func $f) (elem (i32.const {offset}) $f)"
    with pytest.raises((TrapError, WasmCompileError), match=r"element|table"):
        _instance(engine, text)


def test_large_tables_are_refused(engine: Engine) -> None:
    with pytest.raises(WasmCompileError, match=r"table of 4294967295 elements.*at most 100000"):
        engine.compile(_wasm("(table 4294967295 funcref)"))
    _instance(engine, '(table 100000 funcref) (func (export "f"))').function("f")()


def test_dead_code_is_hidden(engine: Engine) -> None:
    """wasm3 says of it that there is no operation for an opcode."""
    text = """(func (export "f") (param i32) (result i32)
      (if (result i32) (local.get 0)
        (then (return (i32.const 3)) (i32.add) (i32.mul) (drop) (i32.const 1))
        (else (block (br 0) (select) (f64.add) (drop)) (i32.const 4))))"""
    function = _instance(engine, text).function("f")
    assert [function(1), function(0)] == [3, 4]


def test_instances_take_turns(engine: Engine) -> None:
    """Each has its own runtime, globals and value stack on one memory that grows."""
    memory = engine.create_memory(MemoryType(1, 64))
    text = """(global $n (mut i32) (i32.const 0))
      (func (export "bump") (param i32) (result i32)
        (global.set $n (i32.add (global.get $n) (local.get 0)))
        (i32.store (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 4))
                   (global.get $n))
        (global.get $n))"""
    bumps = [_instance(engine, text, memory).function("bump") for _ in range(5)]
    for turn in range(1, 40):
        assert [bump(index) for index, bump in enumerate(bumps)] == [
            turn * index for index in range(5)
        ]
        memory.grow(turn % 2)
        assert memory.view().nbytes == memory.page_count * 65536


def test_calls_on_one_memory_from_many_threads(engine: Engine) -> None:
    memory = engine.create_memory(SMALL)
    text = """(func (export "add") (param $n i32)
      (loop (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1)))
        (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))"""
    adds = [_instance(engine, text, memory).function("add") for _ in range(4)]

    def run(add: object) -> None:
        assert callable(add)
        for _ in range(50):
            add(500)

    for running in [run_in_thread(partial(run, add)) for add in adds]:
        running.result()
    assert int.from_bytes(memory.view()[8:12], "little") == 4 * 50 * 500


def test_closing_everything_during_a_call(engine: Engine) -> None:
    memory = engine.create_memory(SMALL)
    text = """(func (export "wait") (i32.store8 (i32.const 0) (i32.const 1))
      (loop (br_if 0 (i32.eqz (i32.load8_u (i32.const 1))))))"""
    instance = _instance(engine, text, memory)
    view = memory.view()
    running = run_in_thread(instance.function("wait"))
    wait_for_byte(view, 0, running)
    instance.close()
    memory.close()
    engine.close()
    del instance, memory
    gc.collect()
    view[1] = 1
    running.result()


def test_growth_waits_for_a_call(engine: Engine) -> None:
    memory = engine.create_memory(SMALL)
    text = """(func (export "wait") (result i32) (i32.store8 (i32.const 0) (i32.const 1))
      (loop (br_if 0 (i32.eqz (i32.load8_u (i32.const 1))))) (memory.size))"""
    view, instance = memory.view(), _instance(engine, text, memory)
    running = run_in_thread(instance.function("wait"))
    wait_for_byte(view, 0, running)
    growing = run_in_thread(partial(memory.grow, 2))
    assert not growing.wait(0.05)
    assert memory.page_count == 1
    view[1] = 1
    assert running.result() == 1
    growing.result()
    assert memory.page_count == 3


def test_trap_says_where(engine: Engine) -> None:
    load = _shipped(engine, "traps").function("load32")
    with pytest.raises(TrapError, match=r"\(memory size: 65536; access offset: 70000\)"):
        load(70000)
    with pytest.raises(TrapError) as caught:
        load(65533)
    assert "70000" not in str(caught.value)


def test_four_gib_memory(engine: Engine) -> None:
    memory = engine.create_memory(MemoryType(65536, 65536))
    instance = engine.instantiate(engine.compile(load_module("memory")), memory)
    instance.function("store32")(-4, 77)
    assert instance.function("load32")(-4) == 77
    with pytest.raises(TrapError):
        instance.function("load32")(-3)
    assert memory.view().nbytes == 2**32


def _address_space_kib() -> tuple[int, int]:
    total, resident = Path("/proc/self/statm").read_text().split()[:2]
    return 4 * int(total), 4 * int(resident)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads sizes in /proc")
@pytest.mark.parametrize("closes", [True, False])
def test_nothing_leaks_without_the_cycle_collector(engine: Engine, closes: bool) -> None:
    program = engine.compile(load_module("traps"))
    shared = engine.create_memory(SMALL)

    def use() -> None:
        memory = engine.create_memory(MemoryType(1, 1024))
        instances = [engine.instantiate(program, memory), engine.instantiate(program, shared)]
        for instance in instances:
            for name in ("nested_unreachable", "recurse"):
                with pytest.raises(TrapError):
                    instance.function(name)(*[0] * (name == "recurse"))
            if closes:
                instance.close()
        engine.compile(load_module("memory"))
        memory.view()[0] = 1

    gc.collect()
    gc.disable()
    try:
        for _ in range(50):
            use()
        before = _address_space_kib()
        for _ in range(1000 if closes else 200):
            use()
        after = _address_space_kib()
    finally:
        gc.enable()
    # 1,000 leaked traps alone would be 24 MiB.
    assert after[0] - before[0] < 4096
    assert after[1] - before[1] < 4096
