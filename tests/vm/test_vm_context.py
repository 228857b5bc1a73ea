"""Contexts: linking, state, limits, interruption, and modules written in Python."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from iree_wasm_hal.errors import (
    ArgumentError,
    BytecodeError,
    ClosedError,
    ImportResolutionError,
    InterruptedCallError,
    InvocationError,
    LimitError,
)
from iree_wasm_hal.status import StatusCode, invocation_error
from iree_wasm_hal.vm.context import Context
from iree_wasm_hal.vm.module import BytecodeModule
from iree_wasm_hal.vm.native import PyModule
from iree_wasm_hal.vm.types import Buffer, List

if TYPE_CHECKING:
    from collections.abc import Callable

    Assemble = Callable[[str], bytes]

COUNTER = """
vm.module @counter version 3
vm.import @host.add cconv "0ii_i"
vm.import optional @host.absent cconv "0v_v"
vm.export @next
vm.func @next(%i0: i32) -> (i32) {
^bb0:
  %i1 = vm.global.load.i32 .rwdata[0]
  %i1 = vm.call @host.add(%i1, %i0)
  vm.global.store.i32 %i1, .rwdata[0]
  vm.return %i1
}
vm.export @has_absent
vm.func @has_absent() -> (i32) {
^bb0:
  %i0 = vm.import.resolved @host.absent
  vm.return %i0
}
vm.export @call_absent
vm.func @call_absent() -> () {
^bb0:
  vm.call @host.absent()
  vm.return
}
"""

LIFE = """
vm.module @life version 0
vm.import @log.say cconv "0i_v"
vm.export @__init
vm.func @__init() -> () {
^bb0:
  %i0 = vm.const.i32 1
  vm.call @log.say(%i0)
  vm.return
}
vm.export @__deinit
vm.func @__deinit() -> () {
^bb0:
  %i0 = vm.const.i32 2
  vm.call @log.say(%i0)
  vm.return
}
vm.export @hold
vm.func @hold(%r0: !vm.ref<?>) -> () {
^bb0:
  vm.global.store.ref %r0, .refs[0] : !vm.buffer
  vm.return
}
"""

ENDLESS = """
vm.module @endless version 0
vm.import @host.tick cconv "0v_v"
vm.export @spin
vm.func @spin(%i0: i32) -> (i32) {
^bb0:
  vm.br ^bb1()
^bb1:
  %i0 = vm.add.i32 %i0, %i0
  vm.br ^bb1()
^bb2:
  vm.return %i0
}
vm.export @descend
vm.func @descend(%i0: i32) -> (i32) {
^bb0:
  %i1 = vm.const.i32 1
  %i2 = vm.cmp.nz.i32 %i0
  vm.cond_br %i2, ^bb1(), ^bb2()
^bb1:
  %i0 = vm.sub.i32 %i0, %i1
  %i0 = vm.call @descend(%i0)
  %i0 = vm.add.i32 %i0, %i1
  vm.return %i0
^bb2:
  vm.return %i0
}
vm.export @double0
vm.func @double0(%i0: i32) -> () {
^bb0:
  vm.return
}
"""
for _level in range(1, 31):
    ENDLESS += f"""
vm.export @double{_level}
vm.func @double{_level}(%i0: i32) -> () {{
^bb0:
  vm.call @double{_level - 1}(%i0)
  vm.call @double{_level - 1}(%i0)
  vm.return
}}
"""

BOMBS = """
vm.module @bombs version 0
vm.type i32
vm.export @buffer
vm.func @buffer(%i0:1: i64) -> () {
^bb0:
  %i2 = vm.const.i32 16
  %r0 = vm.buffer.alloc %i0:1, %i2
  vm.return
}
vm.export @list
vm.func @list(%i0: i32) -> () {
^bb0:
  %r0 = vm.list.alloc %i0 : !vm.list<i32>
  vm.return
}
vm.export @resize
vm.func @resize(%i0: i32) -> () {
^bb0:
  %i1 = vm.const.i32.zero
  %r0 = vm.list.alloc %i1 : !vm.list<i32>
  vm.list.resize %r0, %i0
  vm.return
}
vm.export @clone
vm.func @clone(%r0: !vm.ref<?>, %i0:1: i64) -> () {
^bb0:
  %i2:3 = vm.const.i64.zero
  %i4 = vm.const.i32 1
  %r1 = vm.buffer.clone %r0, %i2:3, %i0:1, %i4
  vm.return
}
"""


def host(**functions: Callable[..., Any]) -> PyModule:
    module = PyModule("host", version=2)

    @module.function("add", "0ii_i")
    def add(a: int, b: int) -> int:
        return a + b

    @module.function("tick", "0v_v")
    def tick() -> None:
        return None

    return module


def test_state_lives_in_the_context(assemble: Assemble) -> None:
    module = BytecodeModule.from_bytes(assemble(COUNTER))
    first, second = Context([host(), module]), Context([host(), module])
    assert [first.function("next")(n) for n in (1, 2, 3)] == [1, 3, 6]
    assert second.function("next")(10) == 10
    assert first.function("next")(0) == 6


def test_results_of_python_functions_are_wrapped(assemble: Assemble) -> None:
    context = Context([host(), BytecodeModule.from_bytes(assemble(COUNTER))])
    step = context.function("next")
    step(2**31 - 1)
    assert step(1) == -(2**31)


def test_optional_imports(assemble: Assemble) -> None:
    module = BytecodeModule.from_bytes(assemble(COUNTER))
    without = Context([host(), module])
    assert without.function("has_absent")() == 0
    with pytest.raises(InvocationError, match=r"NOT_FOUND: optional import 'host\.absent'"):
        without.function("call_absent")()
    served = host()
    calls: list[None] = []
    served.function("absent", "0v_v")(lambda: calls.append(None))
    with_it = Context([served, module])
    assert with_it.function("has_absent")() == 1
    with_it.function("call_absent")()
    assert calls == [None]


def test_missing_import_names_what_is_served(assemble: Assemble) -> None:
    module = BytecodeModule.from_bytes(assemble(COUNTER), file_name="counter.vmfb")
    with pytest.raises(ImportResolutionError, match=r"counter\.vmfb.*no module 'host'"):
        Context([module])
    with pytest.raises(ImportResolutionError, match="does not serve that name"):
        Context([PyModule("host"), module])
    other = PyModule("host")
    other.function("add", "0II_I")(lambda a, b: a + b)
    with pytest.raises(ImportResolutionError, match=r"'0ii_i'; that name is served with '0II_I'"):
        Context([other, module])


def test_two_conventions_of_one_name_live_side_by_side(assemble: Assemble) -> None:
    served = host()
    served.function("add", "0II_I")(lambda a, b: 0)
    context = Context([served, BytecodeModule.from_bytes(assemble(COUNTER))])
    assert context.function("next")(5) == 5
    with pytest.raises(ValueError, match="registered twice"):
        served.function("add", "0II_I")
    with pytest.raises(BytecodeError, match="unexpected 'x'"):
        served.function("add", "0x_v")


def test_minimum_versions(compile_vm: Callable[[str], bytes]) -> None:
    text = """
    vm.module @dependent {
      vm.import private @host.add(%a : i32, %b : i32) -> i32 attributes {minimum_version = 3 : i32}
      vm.export @f
      vm.func @f(%a : i32) -> i32 {
        %r = vm.call @host.add(%a, %a) : (i32, i32) -> i32
        vm.return %r : i32
      }
    }
    """
    module = BytecodeModule.from_bytes(compile_vm(text))
    assert [(d.name, d.minimum_version) for d in module.dependencies] == [("host", 3)]
    with pytest.raises(ImportResolutionError, match="needs 'host' version 3 or later; version 2"):
        Context([host(), module])
    newer = host()
    newer.version = 3
    assert Context([newer, module]).function("f")(4) == 8


def test_modules_import_each_other(assemble: Assemble) -> None:
    library = BytecodeModule.from_bytes(assemble(COUNTER))
    user = BytecodeModule.from_bytes(
        assemble(
            """
            vm.module @user version 0
            vm.import @counter.next cconv "0i_i"
            vm.export @twice
            vm.func @twice(%i0: i32) -> (i32) {
            ^bb0:
              %i0 = vm.call @counter.next(%i0)
              %i0 = vm.call @counter.next(%i0)
              vm.return %i0
            }
            """
        )
    )
    context = Context([host(), library, user])
    assert context.function("twice")(3) == 6
    assert context.function("next", "counter")(0) == 6
    assert context.function("counter.next")(0) == 6
    assert list(context.functions) == ["twice"]
    with pytest.raises(ImportResolutionError, match="no module 'counter'"):
        Context([host(), user, library])


def test_initializers_and_close(assemble: Assemble) -> None:
    said: list[int] = []
    log = PyModule("log")
    log.function("say", "0i_v")(said.append)
    context = Context([log, BytecodeModule.from_bytes(assemble(LIFE))])
    assert said == [1]
    assert list(context.functions) == ["hold"]
    hold = context.function("hold")
    hold(Buffer(b"kept"))
    context.close()
    context.close()
    assert said == [1, 2]
    with pytest.raises(ClosedError, match="closed"):
        hold(None)


def test_failing_initializer_closes_what_was_linked(assemble: Assemble) -> None:
    said: list[int] = []
    log = PyModule("log")

    @log.function("say", "0i_v")
    def say(value: int) -> None:
        said.append(value)
        raise invocation_error(StatusCode.UNAVAILABLE, "not today")

    with pytest.raises(InvocationError, match="UNAVAILABLE: not today"):
        Context([log, BytecodeModule.from_bytes(assemble(LIFE))])
    assert said[0] == 1


def test_unknown_function_and_bad_arguments(assemble: Assemble) -> None:
    context = Context([host(), BytecodeModule.from_bytes(assemble(COUNTER))])
    with pytest.raises(ArgumentError, match="no function 'nope'; it exports next, has_absent"):
        context.function("nope")
    with pytest.raises(ArgumentError, match="no bytecode module 'nope'"):
        context.function("next", "nope")
    step = context.function("next")
    with pytest.raises(ArgumentError, match=r"takes 1 arguments .*got 2"):
        step(1, 2)
    for bad in (1 << 32, -(1 << 31) - 1, 1.5, "1", None):
        with pytest.raises(ArgumentError, match=r"argument 0 is .*expected an int of 32 bits"):
            step(bad)
    assert step(0xFFFFFFFF) == -1


def test_instruction_budget(assemble: Assemble) -> None:
    module = BytecodeModule.from_bytes(assemble(ENDLESS))
    context = Context([host(), module], instruction_budget=100_000)
    for name in ("spin", "double30"):
        with pytest.raises(LimitError, match="more than 100000 VM instructions") as caught:
            context.function(name)(1)
        assert caught.value.allowed == 100_000
    assert context.function("double8")(1) is None


@pytest.mark.parametrize("name", ["spin", "double30"])
def test_deadline_and_interrupt(name: str, assemble: Assemble) -> None:
    context = Context([host(), BytecodeModule.from_bytes(assemble(ENDLESS))])
    context.set_deadline(0.05)
    start = time.monotonic()
    with pytest.raises(InterruptedCallError, match="deadline"):
        context.function(name)(1)
    assert time.monotonic() - start < 5
    context.set_deadline(None)
    timer = threading.Timer(0.05, context.interrupt)
    timer.start()
    with pytest.raises(InterruptedCallError, match="interrupted"):
        context.function(name)(1)
    timer.join()
    assert context.function("double1")(1) is None
    with pytest.raises(ArgumentError, match="finite"):
        context.set_deadline(float("nan"))


def test_call_depth(assemble: Assemble, monkeypatch: pytest.MonkeyPatch) -> None:
    context = Context([host(), BytecodeModule.from_bytes(assemble(ENDLESS))])
    descend = context.function("descend")
    limit = sys.getrecursionlimit()
    assert descend(200) == 200
    with pytest.raises(LimitError, match="recursion limit"):
        descend(100_000)
    sys.setrecursionlimit(20_000)
    try:
        assert descend(1000) == 1000
        with pytest.raises(LimitError, match="more than 1024 nested calls"):
            descend(100_000)
    finally:
        sys.setrecursionlimit(limit)
    assert descend(200) == 200


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("buffer", (1 << 40,)),
        ("buffer", (-1,)),
        ("buffer", (-(1 << 63),)),
        ("list", (-1,)),
        ("list", (1 << 30,)),
        ("resize", (-1,)),
        ("resize", (1 << 29,)),
        ("clone", (Buffer(bytes(1 << 20)), 1 << 20)),
    ],
)
def test_memory_bombs(name: str, arguments: tuple[Any, ...], assemble: Assemble) -> None:
    module = BytecodeModule.from_bytes(assemble(BOMBS))
    context = Context([module], max_host_bytes=1 << 19)
    before = context.account.used_bytes
    with pytest.raises(LimitError, match="host memory") as caught:
        context.function(name)(*arguments)
    assert caught.value.allowed == 1 << 19
    assert context.account.used_bytes == before


def test_memory_is_given_back(assemble: Assemble) -> None:
    context = Context([BytecodeModule.from_bytes(assemble(BOMBS))], max_host_bytes=1 << 20)
    before = context.account.used_bytes
    for _ in range(100):
        context.function("buffer")(1 << 19)
        context.function("list")(1000)
        context.function("resize")(1000)
    assert context.account.used_bytes == before


def test_globals_are_charged(assemble: Assemble) -> None:
    text = COUNTER.replace(".rwdata[0]", ".rwdata[1048576]")
    module = BytecodeModule.from_bytes(assemble(text))
    with pytest.raises(LimitError, match="module globals asks for 1048580 bytes"):
        Context([host(), module], max_host_bytes=1 << 20)
    context = Context([host(), module], max_host_bytes=1 << 21)
    assert context.account.used_bytes == 1048580
    context.close()
    assert context.account.used_bytes == 0


def test_refs_pass_through_python(assemble: Assemble) -> None:
    text = """
    vm.module @refs version 0
    vm.type !vm.buffer
    vm.import @host.pick cconv "0CrDCiID_rfFI"
    vm.export @f
    vm.func @f(%r0: !vm.ref<?>, %r1: !vm.ref<?>, %i0:1: i64, %i2: i32) -> (!vm.ref<?>, f32, i64) {
    ^bb0:
      %i6:7 = vm.const.i64.zero
      %r2, %i3, %i4, %i6 = vm.call.variadic @host.pick segments[2, 2](%r0, %R1, %i2, %i0, %i2, %i0)
      %r2 = vm.cast.any.ref %R2 : !vm.ref<?> -> !vm.buffer
      vm.return %R2, %i3, %i6
    }
    """
    module = PyModule("host")
    seen: list[object] = []

    @module.function("pick", "0CrDCiID_rfFI")
    def pick(refs: tuple[object, ...], pairs: tuple[tuple[int, int], ...]) -> tuple[Any, ...]:
        seen.append((refs, pairs))
        return refs[1], 0.1, 0.1, 1 << 63

    context = Context([module, BytecodeModule.from_bytes(assemble(text))])
    one, two = Buffer(b"1"), Buffer(b"2")
    result = context.function("f")(one, two, 5, 6)
    assert seen == [((one, two), ((6, 5), (6, 5)))]
    assert result == (two, 0.10000000149011612, -(1 << 63))
    with pytest.raises(InvocationError, match="ref of type List; expected Buffer"):
        context.function("f")(one, List("i32"), 5, 6)


def test_wrong_results_of_python_functions_are_named(assemble: Assemble) -> None:
    text = """
    vm.module @m version 0
    vm.import @host.two cconv "0v_ii"
    vm.export @f
    vm.func @f() -> (i32, i32) {
    ^bb0:
      %i0, %i1 = vm.call @host.two()
      vm.return %i0, %i1
    }
    """
    module = BytecodeModule.from_bytes(assemble(text))
    for result in (None, 1, (1,), (1, 2, 3), (1, "x"), (1.5, 2)):
        native = PyModule("host")
        native.function("two", "0v_ii")(lambda result=result: result)
        with pytest.raises(InvocationError, match=r"host\.two.*returned"):
            Context([native, module]).function("f")()


def test_unregistered_type_is_named(assemble: Assemble) -> None:
    text = """
    vm.module @m version 0
    vm.type !toy.thing
    vm.export @f
    vm.func @f(%r0: !vm.ref<?>) -> (!vm.ref<?>) {
    ^bb0:
      %r0 = vm.cast.any.ref %R0 : !vm.ref<?> -> !toy.thing
      vm.return %R0
    }
    """

    class Thing:
        pass

    module = BytecodeModule.from_bytes(assemble(text))
    with pytest.raises(ImportResolutionError, match=r"no module registers the type '!toy\.thing'"):
        Context([module])
    context = Context([PyModule("toy", types={"toy.thing": Thing}), module])
    thing = Thing()
    assert context.function("f")(thing) is thing
    assert context.function("f")(None) is None
    with pytest.raises(InvocationError, match="expected Thing"):
        context.function("f")(Buffer(b""))
