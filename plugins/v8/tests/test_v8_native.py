"""What is particular to this plugin: calls, traps, interruption and memories in isolates."""

from __future__ import annotations

import gc
import threading
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from iree_wasm_hal_v8 import budget, isolate
from iree_wasm_hal_v8.instance import V8Instance
from iree_wasm_hal_v8.library import load_library

from iree_wasm_hal.engine import Feature, Instance, MemoryType, TrapKind, open_engine
from iree_wasm_hal.engine.conformance.background import run_in_thread, wait_for_byte
from iree_wasm_hal.engine.conformance.suite import load_module
from iree_wasm_hal.errors import (
    ArgumentError,
    ClosedError,
    EngineError,
    InternalError,
    InterruptedCallError,
    LimitError,
    TrapError,
    WasmCompileError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iree_wasm_hal.engine import Engine, Memory

SMALL = MemoryType(1, 4)
_GIB_IN_PAGES = 16384

# All import (memory "env" "memory" 1 16).
# (func (export "f") (param f32)) (func (export "g") (result i32 i32) unreachable)
_OTHER_TYPES = bytes.fromhex(
    "0061736d01000000010a0260017d006000027f7f02100103656e76066d656d6f727902010110030302000107"
    "090201660000016700010a080202000b0300000b"
)
# (export "m" (memory 0)) (global (export "g") i32 (i32.const 1)) (table (export "t") 1 funcref)
_OTHER_EXPORTS = bytes.fromhex(
    "0061736d0100000002100103656e76066d656d6f7279020101100404017000010606017f0041010b070d0301"
    "6d02000167030001740100"
)
# (tag) (func (export "f") (throw 0))
_THROWS = bytes.fromhex(
    "0061736d0100000001040160000002100103656e76066d656d6f727902010110030201000d03010000070501"
    "016600000a0601040008000b"
)


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = open_engine("v8")
    yield engine
    engine.close()


def _instance(engine: Engine, module: str | bytes, memory_type: MemoryType = SMALL) -> Instance:
    wasm = load_module(module) if isinstance(module, str) else module
    return engine.instantiate(engine.compile(wasm), engine.create_memory(memory_type))


def _isolate(instance: Instance) -> isolate.Isolate:
    assert isinstance(instance, V8Instance)
    assert instance.isolate is not None
    return instance.isolate


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{key}:")).split()[1])


def test_features(engine: Engine) -> None:
    missing = {Feature.THREADS, Feature.SERIALIZE, Feature.WIDE_VECTORS}
    assert engine.info.features == frozenset(Feature) - missing
    assert set(engine.info.notes) == missing


def test_library_is_the_wheels_own(engine: Engine) -> None:
    assert Path(engine.info.library_path).parent.name == "py_mini_racer"
    assert metadata.version("mini-racer").startswith("0.14.")


def test_there_are_no_options() -> None:
    with pytest.raises(EngineError, match="no option 'fast'"):
        open_engine("v8", fast=True)


# Calls


class _Counting:
    """A library that counts the calls into it."""

    def __init__(self, lib: Any) -> None:
        self._lib = lib
        self.names: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.names.append(name)
        return getattr(self._lib, name)


def test_a_call_queues_one_task_and_waits_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = _instance(engine, "integers")
    add = instance.function("i32_add")
    counting = _Counting(load_library().lib)
    monkeypatch.setattr(_isolate(instance), "_lib", counting)
    assert add(40, 2) == 42
    assert sorted(counting.names) == ["mr_call_function", "mr_free_value", "mr_get_identity_hash"]


def test_calls_and_traps_leave_no_values(engine: Engine) -> None:
    instance = _instance(engine, "traps")
    load, unreachable = instance.function("load32"), instance.function("unreachable")
    before = _isolate(instance).live_value_count()
    for _ in range(300):
        load(0)
        with pytest.raises(TrapError):
            unreachable()
    assert _isolate(instance).live_value_count() == before


def test_functions_are_freed_with_their_instance(engine: Engine) -> None:
    memory, program = engine.create_memory(SMALL), engine.compile(load_module("integers"))
    keeper = engine.instantiate(program, memory)
    before = _isolate(keeper).live_value_count()
    for _ in range(100):
        instance = engine.instantiate(program, memory)
        instance.function("i32_add")(1, 2)
        instance.close()
    assert _isolate(keeper).live_value_count() == before


def test_close_that_another_thread_has_begun(engine: Engine) -> None:
    instance = _instance(engine, "integers")
    constant = instance.function("constant")
    assert isinstance(instance, V8Instance)
    instance.functions = {}  # halfway through close
    with pytest.raises(ClosedError):
        constant()


def test_calls_on_one_memory_take_turns(engine: Engine) -> None:
    memory, program = engine.create_memory(SMALL), engine.compile(load_module("integers"))
    adds = [engine.instantiate(program, memory).function("i64_add") for _ in range(4)]

    def use(add: Any, offset: int) -> bool:
        return all(add(index, offset) == index + offset for index in range(1000))

    calls = [run_in_thread(partial(use, add, 2**40 + n)) for n, add in enumerate(adds)]
    assert all(call.result() for call in calls)


def test_calls_on_two_memories_run_at_once(engine: Engine) -> None:
    instances = [_instance(engine, "loops") for _ in range(2)]
    memories = [engine.create_memory(SMALL) for _ in range(2)]
    program = engine.compile(load_module("loops"))
    instances = [engine.instantiate(program, memory) for memory in memories]
    calls = [run_in_thread(partial(each.function("spin_forever"), 0)) for each in instances]
    for memory, call in zip(memories, calls, strict=True):
        wait_for_byte(memory.view(), 0, call)
    for instance, call in zip(instances, calls, strict=True):
        instance.interrupt()
        with pytest.raises(InterruptedCallError):
            call.result()


@pytest.mark.parametrize("byte_length", [64 * 1024, 256 * 1024])
def test_small_stacks_of_callers_do_not_matter(engine: Engine, byte_length: int) -> None:
    recurse = _instance(engine, "traps").function("recurse")
    with pytest.raises(TrapError) as caught:
        run_in_thread(partial(recurse, 0), stack_byte_length=byte_length).result()
    assert caught.value.kind == TrapKind.STACK_EXHAUSTED


def test_only_integer_functions(engine: Engine) -> None:
    instance = _instance(engine, _OTHER_TYPES)
    for name, described in {"f": r"\(f32\) -> \(\)", "g": r"\(\) -> \(i32, i32\)"}.items():
        with pytest.raises(EngineError, match=rf"'{name}' .*{described}.*only i32 and i64"):
            instance.function(name)


def test_other_exports_are_no_functions(engine: Engine) -> None:
    instance = _instance(engine, _OTHER_EXPORTS)
    for name in ("m", "g", "t", "toString", "__proto__"):
        with pytest.raises(EngineError, match=f"exports no function '{name}'"):
            instance.function(name)


def test_arguments_must_be_integers(engine: Engine) -> None:
    add = _instance(engine, "integers").function("i32_add")
    for wrong in (1.5, "1", None):
        with pytest.raises(ArgumentError, match=r"'i32_add'"):
            add(1, wrong)
    assert add(1, 2) == 3


# Traps


def test_uncaught_exception_is_a_trap(engine: Engine) -> None:
    throw = _instance(engine, _THROWS).function("f")
    for _ in range(3):
        with pytest.raises(TrapError) as caught:
            throw()
        assert caught.value.kind == TrapKind.UNCAUGHT_EXCEPTION


def test_trap_message_names_the_wasm_function(engine: Engine) -> None:
    nested = _instance(engine, "traps").function("nested_unreachable")
    with pytest.raises(TrapError, match=r"^'nested_unreachable' trapped in 'fail': unreachable$"):
        nested()


def test_v8_says_the_same_of_empty_and_wrong_table_slots(engine: Engine) -> None:
    """If this fails, V8 has learnt to tell them apart: so should messages.py."""
    call = _instance(engine, "traps").function("call_indirect")
    causes = []
    for slot in (1, 2):
        with pytest.raises(TrapError) as caught:
            call(slot)
        causes.append(str(caught.value.__cause__))
    assert causes == ["RuntimeError: function signature mismatch"] * 2


def test_requests_that_fail_are_reported(engine: Engine) -> None:
    one = _isolate(_instance(engine, "integers"))
    with one.turn, pytest.raises(isolate.RequestError, match=r"^TypeError: .*operations"):
        one.request("absent")
    with one.turn, pytest.raises(InternalError, match=r"BUG: host.js: nothing gave type 100"):
        one.request("nothing")
    with one.turn, pytest.raises(InternalError, match=r"reflectsTypes gave type 5"):
        one.handle("reflectsTypes")


# Interruption


def test_interrupt_before_the_task_has_a_number(engine: Engine) -> None:
    """The other thread may run between mini-racer's answer and its storing."""
    instance = _instance(engine, "loops")
    spin_forever = instance.function("spin_forever")
    one, lib = _isolate(instance), load_library().lib

    class Interrupting:
        def __getattr__(self, name: str) -> Any:
            if name == "mr_call_function" and one.call is not None and one.call.task is None:
                instance.interrupt()
            return getattr(lib, name)

    vars(one)["_lib"] = Interrupting()
    with pytest.raises(InterruptedCallError):
        spin_forever(0)


def test_interrupt_ends_a_wait(engine: Engine) -> None:
    memory = engine.create_memory(MemoryType(1, 4, shared=True))
    instance = engine.instantiate(engine.compile(load_module("shared")), memory)
    running = run_in_thread(partial(instance.function("wait32"), 64, 0, -1))
    while not running.wait(0.01):
        instance.interrupt()
    with pytest.raises(InterruptedCallError):
        running.result()
    assert instance.function("load32")(64) == 0


def test_interrupt_after_everything_else_was_closed() -> None:
    engine = open_engine("v8")
    memory = engine.create_memory(SMALL)
    instance = engine.instantiate(engine.compile(load_module("loops")), memory)
    view, running = memory.view(), run_in_thread(partial(instance.function("spin_forever"), 0))
    wait_for_byte(view, 0, running)
    memory.close()
    engine.close()
    instance.interrupt()
    instance.close()
    with pytest.raises(InterruptedCallError):
        running.result()
    assert view[0] == 1


# Memories and lifetimes


def test_views_survive_growth_to_the_maximum(engine: Engine) -> None:
    memory = engine.create_memory(MemoryType(1, 65536))
    array = np.frombuffer(memory.view(), np.uint8)
    for delta in (1, 2, 100, 1000, 10_000, 54_432):
        memory.grow(delta)
        array[0] += 1
    assert memory.page_count == 65536
    assert memory.view()[0] == array[0] == 6
    memory.view()[2**32 - 1] = 1
    memory.close()
    gc.collect()
    assert array[0] == 6


def test_memory_may_start_empty(engine: Engine) -> None:
    memory = engine.create_memory(MemoryType(0, 4))
    assert memory.view().nbytes == 0
    memory.grow(1)
    memory.view()[5] = 1
    memory.grow(2)
    assert memory.view()[5] == 1


def test_64_bit_memories_end_at_v8s_maximum(engine: Engine) -> None:
    memory = engine.create_memory(MemoryType(1, 2**20, index64=True))
    memory.grow(5 * _GIB_IN_PAGES)
    memory.view()[5 * 1024**3] = 1
    with pytest.raises(LimitError, match="V8's maximum"):
        memory.grow(16 * _GIB_IN_PAGES)
    with pytest.raises(LimitError, match="V8's maximum"):
        engine.create_memory(MemoryType(2**19, 2**20, index64=True))


def test_address_space_is_limited(engine: Engine) -> None:
    largest = MemoryType(1, 65536)
    memories: list[Memory] = []

    def fill() -> None:
        while len(memories) < 200:
            memories.append(engine.create_memory(largest))

    with pytest.raises(LimitError, match="address space; close some") as caught:
        fill()
    assert caught.value.allowed == budget.MEMORY_BYTE_LENGTH
    assert 100 < len(memories) <= 128
    memories.pop().close()
    memories[0].grow(65535)  # its own reservation is whole
    engine.create_memory(largest)


def test_isolates_are_limited(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_library(), "isolates", budget.Budget(2))
    memories = [engine.create_memory(SMALL) for _ in range(2)]
    with pytest.raises(LimitError, match="there are 2 linear memories and engines"):
        engine.create_memory(SMALL)
    memories.clear()
    engine.create_memory(SMALL)


def test_lack_of_threads_is_an_error(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_thread: threading.Thread) -> None:
        msg = "can't start new thread"
        raise RuntimeError(msg)

    with monkeypatch.context() as context:
        context.setattr(threading.Thread, "start", start)
        with pytest.raises(LimitError, match="no thread for another linear memory: can't start"):
            engine.create_memory(SMALL)
    engine.create_memory(SMALL)


def test_too_large_functions_are_refused(engine: Engine) -> None:
    body = b"\x00\x41\x00" + b"\x41\x01\x6a" * 3_000_000 + b"\x0b"  # i32.const 1 i32.add ...
    code = b"\x01" + _uleb128(len(body)) + body
    header = bytes.fromhex("0061736d010000000105016000017f03020100")
    with pytest.raises(WasmCompileError, match="maximum function size"):
        engine.compile(header + b"\x0a" + _uleb128(len(code)) + code)


def _uleb128(value: int) -> bytes:
    return bytes(
        [value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14 & 0x7F | 0x80]
    ) + bytes([value >> 21])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc/self/status")
def test_nothing_leaks(engine: Engine) -> None:
    program = engine.compile(load_module("memory"))
    memory = engine.create_memory(SMALL)

    def use() -> None:
        for _ in range(4):
            instance = engine.instantiate(program, memory)
            instance.function("store32")(0, 1)
            instance.close()
        own = _instance(engine, "traps", MemoryType(1, 65536))
        with pytest.raises(TrapError):
            own.function("unreachable")()

    gc.collect()
    gc.disable()  # nothing waits for the cycle collector either
    try:
        for _ in range(20):
            use()
        before = {key: _status(key) for key in ("Threads", "VmSize", "VmRSS")}
        for _ in range(250):
            use()
        after = {key: _status(key) for key in before}
    finally:
        gc.enable()
    assert after["Threads"] <= before["Threads"]  # those of other tests may end meanwhile
    # In KiB: a leaked isolate would be 700 KiB, and 1.7 GiB of address space.
    assert after["VmRSS"] - before["VmRSS"] < 50_000
    assert after["VmSize"] - before["VmSize"] < 4_000_000
