"""What is particular to this engine: modules, traps, threads, lifetime."""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from wasmtime import wat2wasm

from iree_wasm_hal.engine import Instance, MemoryType, TrapKind, open_engine
from iree_wasm_hal.engine.conformance.background import run_in_thread
from iree_wasm_hal.engine.conformance.suite import load_module
from iree_wasm_hal.errors import (
    ArgumentError,
    EngineError,
    TrapError,
    WasmCompileError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iree_wasm_hal.engine import Engine

SMALL = MemoryType(1, 16)


@pytest.fixture(params=["cranelift", "singlepass"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    engine = open_engine("wasmer", compiler=request.param)
    yield engine
    engine.close()


def _instance(engine: Engine, module: str) -> Instance:
    return engine.instantiate(engine.compile(load_module(module)), engine.create_memory(SMALL))


def _text_instance(engine: Engine, body: str) -> Instance:
    wasm = wat2wasm(f'(module (import "env" "memory" (memory 1 16)) {body})')
    return engine.instantiate(engine.compile(bytes(wasm)), engine.create_memory(SMALL))


def _run(code: str, **environment: str) -> str:
    """What a Python program of its own process prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONFAULTHANDLER": "", **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# Bad input


@pytest.mark.parametrize(
    "text",
    ['(func (export "f") (param f32))', '(func (export "f") (result i32 i32) unreachable)'],
    ids=["float", "two_results"],
)
def test_only_integer_functions(engine: Engine, text: str) -> None:
    instance = _text_instance(engine, text)
    with pytest.raises(EngineError, match=r'"f" .*expected only i32 and i64'):
        instance.function("f")


def test_other_exports_are_no_functions(engine: Engine) -> None:
    instance = _text_instance(
        engine,
        '(export "m" (memory 0)) (global (export "g") i32 (i32.const 1))'
        ' (table (export "t") 1 funcref)',
    )
    for name in ("m", "g", "t", "\ud800"):
        with pytest.raises(EngineError, match="no function"):
            instance.function(name)


def test_arguments_must_be_integers(engine: Engine) -> None:
    add = _instance(engine, "integers").function("i32_add")
    for wrong in (1.5, "1", None):
        with pytest.raises(ArgumentError, match=r"'i32_add'"):
            add(1, wrong)
    assert add(1, 2) == 3


def test_many_parameters(engine: Engine) -> None:
    """More than fit into the native call's array on the stack."""
    parameters = " ".join(["i64"] * 40)
    summed = "".join(f" (local.get {index}) i64.add" for index in range(1, 40))
    function = _text_instance(
        engine, f'(func (export "f") (param {parameters}) (result i64) (local.get 0){summed})'
    ).function("f")
    assert function(*(10**index for index in range(18)), *([0] * 22)) == int("1" * 18)


def test_mutated_modules_are_refused_or_compiled(engine: Engine) -> None:
    source = random.Random(20)
    modules = [load_module(name) for name in ("traps", "memory", "loops", "shared")]
    refused = 0
    for _ in range(400):
        wasm = bytearray(source.choice(modules))
        for _ in range(source.randint(1, 4)):
            wasm[source.randrange(8, len(wasm))] = source.randrange(256)
        try:
            engine.compile(bytes(wasm)).close()
        except WasmCompileError:
            refused += 1
    assert 0 < refused < 400
    assert _instance(engine, "integers").function("constant")() == 42


# Traps and threads


@pytest.mark.parametrize("byte_length", [256 * 1024, 2 * 1024**2])
def test_stack_overflow_traps_on_small_threads(engine: Engine, byte_length: int) -> None:
    recurse = _instance(engine, "traps").function("recurse")
    for _ in range(20):
        with pytest.raises(TrapError) as caught:
            run_in_thread(partial(recurse, 0), stack_byte_length=byte_length).result()
        assert caught.value.kind == TrapKind.STACK_EXHAUSTED


def test_stack_overflow_by_large_frames(engine: Engine) -> None:
    """A frame larger than a guard page must not step over it."""
    locals_ = "(local i64)" * 20_000
    used = "".join(f"(local.set {index} (i64.const {index}))" for index in range(0, 20_000, 100))
    summed = "".join(f" (local.get {index}) i64.add" for index in range(0, 20_000, 100))
    recurse = _text_instance(
        engine,
        f'(func $f (export "f") (result i64) {locals_} {used} (call $f){summed})',
    ).function("f")
    for _ in range(5):
        with pytest.raises(TrapError) as caught:
            recurse()
        assert caught.value.kind == TrapKind.STACK_EXHAUSTED


def test_far_accesses_meet_the_guard(engine: Engine) -> None:
    """The largest index with the largest offset: just below 8 GiB, plus the access itself."""
    instance = _text_instance(
        engine,
        """(func (export "load") (param i32) (result i64)
             (i64.load offset=4294967295 (local.get 0)))
           (func (export "store") (param i32) (i64.store offset=4294967295 (local.get 0)
             (i64.const 1)))""",
    )
    for name in ("load", "store"):
        for index in (0, 1, 2**31, 2**32 - 1):
            with pytest.raises(TrapError) as caught:
                instance.function(name)(index)
            assert caught.value.kind == TrapKind.OUT_OF_BOUNDS_MEMORY


def test_traps_on_many_threads(engine: Engine) -> None:
    instances = [_instance(engine, "traps") for _ in range(4)]

    def trap(instance: Instance) -> int:
        load, divide = instance.function("load32"), instance.function("divide")
        count = 0
        for _ in range(500):
            for function, arguments in ((load, (65536,)), (divide, (1, 0))):
                try:
                    function(*arguments)
                except TrapError:
                    count += 1
        return count

    calls = [run_in_thread(partial(trap, instance)) for instance in instances]
    assert [call.result() for call in calls] == [1000] * 4


def test_instances_on_an_unshared_memory_run_at_once(engine: Engine) -> None:
    """They have stores of their own: neither a call nor growth waits for another call."""
    memory = engine.create_memory(SMALL)
    program = engine.compile(load_module("loops"))
    forever, other = engine.instantiate(program, memory), engine.instantiate(program, memory)
    running = run_in_thread(partial(forever.function("spin_forever"), 0))
    while not memory.view()[0]:
        assert not running.wait(0.0005)
    assert other.function("spin")(8, 10) is not None
    memory.grow(1)
    assert memory.page_count == 2
    assert not running.wait(0)
    forever.interrupt()
    with pytest.raises(Exception, match="interrupted"):
        running.result()


def test_one_instance_waits_for_its_own_call(engine: Engine) -> None:
    """Two threads on one instance: the calls take turns."""
    instance = _text_instance(
        engine,
        """(global $inside (mut i32) (i32.const 0))
           (func (export "f") (param $n i32) (result i32) (local $worst i32)
             (loop $again
               (global.set $inside (i32.add (global.get $inside) (i32.const 1)))
               (if (i32.gt_s (global.get $inside) (local.get $worst))
                 (then (local.set $worst (global.get $inside))))
               (global.set $inside (i32.sub (global.get $inside) (i32.const 1)))
               (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
             (local.get $worst))""",
    )
    function = instance.function("f")
    calls = [run_in_thread(partial(function, 2_000_000)) for _ in range(2)]
    assert [call.result() for call in calls] == [1, 1]


def test_wait_on_an_unshared_memory_is_a_trap(engine: Engine) -> None:
    instance = _text_instance(
        engine,
        """(func (export "f") (result i32)
             (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))""",
    )
    with pytest.raises(TrapError) as caught:
        instance.function("f")()
    assert caught.value.kind == TrapKind.EXPECTED_SHARED_MEMORY


def test_uncaught_exception_is_a_trap() -> None:
    instance = _text_instance(
        open_engine("wasmer"), '(tag $t) (func $thrower (export "f") (throw $t))'
    )
    for _ in range(3):
        with pytest.raises(TrapError) as caught:
            instance.function("f")()
        assert caught.value.kind == TrapKind.UNCAUGHT_EXCEPTION


# Lifetime


def _address_space_pages() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0])


def _resident_pages() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads sizes in /proc")
@pytest.mark.parametrize("kind", ["instances", "memories", "programs", "traps"])
def test_nothing_leaks(engine: Engine, kind: str) -> None:
    program, memory = engine.compile(load_module("traps")), engine.create_memory(SMALL)

    def use() -> None:
        if kind == "memories":
            np.frombuffer(engine.create_memory(SMALL).view(), np.uint8)[:4096] = 1
        elif kind == "programs":
            engine.deserialize(engine.compile(load_module("traps")).serialize()).close()
        else:
            instance = engine.instantiate(program, memory)
            function = instance.function("unreachable" if kind == "traps" else "load32")
            if kind == "traps":
                with pytest.raises(TrapError):
                    function()
            instance.close()

    gc.collect()
    gc.disable()
    try:
        for _ in range(100):
            use()
        before = _address_space_pages(), _resident_pages()
        for _ in range(1000 if kind != "programs" else 300):
            use()
        after = _address_space_pages(), _resident_pages()
    finally:
        gc.enable()
    # One memory is 2 Mi pages of address space; a compiled program, 8 pages or more.
    assert after[0] - before[0] < 20_000
    assert after[1] - before[1] < 1500


def test_call_outlives_the_close_of_everything(engine: Engine) -> None:
    memory = engine.create_memory(SMALL)
    program = engine.compile(load_module("loops"))
    instance = engine.instantiate(program, memory)
    running = run_in_thread(partial(instance.function("spin_forever"), 0))
    view = memory.view()
    while not view[0]:
        assert not running.wait(0.0005)
    program.close()
    memory.close()
    engine.close()
    interrupt = instance.interrupt
    interrupt()
    instance.close()
    with pytest.raises(Exception, match="interrupted"):
        running.result()
    assert view[0] == 1


def test_memory_that_the_machine_does_not_give() -> None:
    code = (
        "import resource\n"
        "from iree_wasm_hal.engine import MemoryType, open_engine\n"
        "from iree_wasm_hal.errors import LimitError\n"
        "engine = open_engine('wasmer')\n"
        "resource.setrlimit(resource.RLIMIT_AS, (4 * 1024**3, resource.RLIM_INFINITY))\n"
        "try:\n    engine.create_memory(MemoryType(1, 16))\n"
        "except LimitError as error:\n    print(error)\n"
    )
    assert "cannot create MemoryType" in _run(code)


def test_faulthandler_before_the_engine_is_harmless() -> None:
    code = (
        "import faulthandler; faulthandler.enable()\n"
        "from iree_wasm_hal.engine import MemoryType, open_engine\n"
        "from iree_wasm_hal.engine.conformance.suite import load_module\n"
        "from iree_wasm_hal.errors import TrapError\n"
        "engine = open_engine('wasmer')\n"
        "program = engine.compile(load_module('traps'))\n"
        "instance = engine.instantiate(program, engine.create_memory(MemoryType(1, 1)))\n"
        "try:\n    instance.function('load32')(65536)\n"
        "except TrapError as error:\n    print(error.kind)\n"
    )
    assert _run(code) == TrapKind.OUT_OF_BOUNDS_MEMORY
