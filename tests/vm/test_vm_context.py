"""Contexts: linking, state, and modules written in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from vm_modules import COUNTER, host

from iree_wasm_hal.errors import (
    ArgumentError,
    BytecodeError,
    ClosedError,
    ImportResolutionError,
    InvocationError,
)
from iree_wasm_hal.status import StatusCode, invocation_error
from iree_wasm_hal.vm.context import Context
from iree_wasm_hal.vm.module import BytecodeModule
from iree_wasm_hal.vm.native import PyModule
from iree_wasm_hal.vm.types import Buffer, List

if TYPE_CHECKING:
    from collections.abc import Callable

    Assemble = Callable[[str], bytes]

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
