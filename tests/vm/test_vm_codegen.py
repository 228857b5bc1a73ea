"""Generated code: layout, shared code, and what a call costs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from iree_wasm_hal.vm.context import Context
from iree_wasm_hal.vm.module import BytecodeModule
from iree_wasm_hal.vm.native import PyModule
from iree_wasm_hal.vm.types import Buffer

if TYPE_CHECKING:
    from collections.abc import Callable

    Assemble = Callable[[str], bytes]


def _nested(depth: int) -> str:
    """A function of ``depth`` nested ifs whose inner sides are all on the true edge."""
    lines = ["vm.module @nested version 0", "vm.export @f", "vm.func @f(%i0: i32) -> (i32) {"]
    lines += ["^bb0:", "  %i1 = vm.const.i32 1", "  %i2 = vm.const.i32.zero"]
    for level in range(depth):
        last = 2 * depth
        lines += [
            f"  vm.cond_br %i0, ^bb{2 * level + 1}(), ^bb{2 * level + 2}()",
            f"^bb{2 * level + 2}:" if level % 2 else f"^bb{2 * level + 1}:",
        ]
        side = f"^bb{2 * level + 1}:" if level % 2 else f"^bb{2 * level + 2}:"
        lines += ["  %i2 = vm.add.i32 %i2, %i1", f"  vm.br ^bb{last + 1}()", side]
        lines += ["  %i0 = vm.xor.i32 %i0, %i1"]
    lines += [f"  vm.br ^bb{2 * depth + 1}()", f"^bb{2 * depth + 1}:", "  vm.return %i2", "}"]
    return "\n".join(lines) + "\n"


def _chain(length: int) -> str:
    lines = ["vm.module @chain version 0", "vm.export @f", "vm.func @f(%i0: i32) -> (i32) {"]
    for block in range(length):
        lines += [f"^bb{block}:", "  %i0 = vm.add.i32 %i0, %i0", f"  vm.br ^bb{block + 1}()"]
    return "\n".join([*lines, f"^bb{length}:", "  vm.return %i0", "}"]) + "\n"


def _fan(depth: int) -> str:
    """Every true edge goes one level deeper before it fails."""
    lines = ["vm.module @fan version 0", "vm.export @f", "vm.func @f(%i0: i32) -> (i32) {"]
    for level in range(depth):
        lines += [
            f"^bb{2 * level}:",
            f"  vm.cond_br %i0, ^bb{2 * level + 2}(), ^bb{2 * level + 1}()",
        ]
        lines += [f"^bb{2 * level + 1}:", f"  %i0 = vm.const.i32 {level}"]
        lines += [f"  vm.cond_br %i0, ^bb{2 * depth}(), ^bb{2 * depth}()"]
    return "\n".join([*lines, f"^bb{2 * depth}:", "  vm.return %i0", "}"]) + "\n"


def test_deep_control_flow_compiles(assemble: Assemble) -> None:
    for text, argument, expected in (
        (_nested(200), 1, None),
        (_chain(1500), 3, 0),
        (_fan(600), 7, 7),
        (_fan(600), 0, 0),
    ):
        context = Context([BytecodeModule.from_bytes(assemble(text))])
        result = context.function("f")(argument)
        assert expected is None or result == expected


def test_code_is_generated_at_first_call_and_shared(assemble: Assemble) -> None:
    module = BytecodeModule.from_bytes(assemble(_chain(3)))
    first, second = Context([module]), Context([module])
    assert not module._generated
    assert first.function("f")(1) == second.function("f")(1) == 8
    assert first.function("f").raw.__code__ is second.function("f").raw.__code__
    assert first.function("f").raw.__globals__ is not second.function("f").raw.__globals__


def test_refs_are_dropped_where_the_program_drops_them(assemble: Assemble) -> None:
    text = """
    vm.module @m version 0
    vm.type i32
    vm.import @host.look cconv "0v_v"
    vm.export @f
    vm.func @f(%i0:1: i64) -> () {
    ^bb0:
      %i2 = vm.const.i32 1
      %r0 = vm.buffer.alloc %i0:1, %i2
      %r1 = vm.assign.ref %R0
      vm.call @host.look()
      vm.discard.refs %r1
      vm.call @host.look()
      vm.return
    }
    """
    native = PyModule("host")
    used: list[int] = []
    contexts: list[Context] = []
    native.function("look", "0v_v")(lambda: used.append(contexts[0].account.used_bytes))
    context = Context([native, BytecodeModule.from_bytes(assemble(text))])
    contexts.append(context)
    context.function("f")(1000)
    assert used == [1000, 0]


HOST_PROGRAM = """
vm.module @program version 0
vm.type !vm.buffer
vm.rodata[0] = 010203
vm.import @hal.make cconv "0rIIiiCID_r"
vm.import @hal.check cconv "0rriiCID_v"
vm.import @hal.wait cconv "0iICrD_i"
vm.export @main
vm.func @main(%r0: !vm.ref<?>, %r1: !vm.ref<?>) -> (!vm.ref<?>) {
^bb0:
  %i0 = vm.const.i32 16
  %i1 = vm.const.i32 1
  %i2:3 = vm.const.i64 4
  %r2 = vm.const.ref.rodata 0
  vm.call.variadic @hal.check segments[65535, 65535, 65535, 65535, 1](%r0, %r2, %i0, %i1, %i2)
  vm.call.variadic @hal.check segments[65535, 65535, 65535, 65535, 1](%r1, %R2, %i0, %i1, %i2)
  vm.global.store.ref %r0, .refs[0] : !vm.buffer
  %r3 = vm.global.load.ref .refs[0] : !vm.buffer
  %i4 = vm.call.variadic @hal.wait segments[65535, 65535, 2](%i1, %i2, %r3, %R1)
  vm.cond_br %i4, ^bb1(), ^bb2()
^bb1:
  vm.discard.refs %r0, %r3
  vm.fail %i4, "failed to wait"
^bb2:
  %r4 = vm.call.variadic @hal.make segments[1, 1, 1, 1, 1, 1](%R3, %i2, %i2, %i0, %i1, %i2)
  vm.discard.refs %r0
  vm.return %R4
}
"""


def _same_in_python(one: object, two: object) -> object:
    """The calls of `HOST_PROGRAM` and nothing else."""

    def call(*arguments: object) -> object:
        return arguments[0]

    number = 16
    call(one, 0, number, 1, 4, (), one)
    call(two, 0, number, 1, 4, (), two)
    if call(1, 4, (one, two)) != 1:
        raise AssertionError
    return call(one, number, 4, 4, 1, ())


def test_overhead_of_a_host_program(assemble: Assemble) -> None:
    native = PyModule("hal")
    native.function("make", "0rIIiiCID_r")(lambda *arguments: arguments[0])
    native.function("check", "0rriiCID_v")(lambda *arguments: None)
    native.function("wait", "0iICrD_i")(lambda *arguments: 0)
    context = Context([native, BytecodeModule.from_bytes(assemble(HOST_PROGRAM))])
    main, one, two = context.function("main"), Buffer(b"1"), Buffer(b"2")
    assert main(one, two) is one

    def measured_s(function: Callable[..., object]) -> float:
        start = time.perf_counter()
        for _ in range(200):
            function(one, two)
        return time.perf_counter() - start

    # Beside Python's own speed, and the best of many, so that no slow or busy machine fails it.
    pairs = [(measured_s(main), measured_s(_same_in_python)) for _ in range(50)]
    ours, pythons = map(min, zip(*pairs, strict=True))
    assert ours < 10 * pythons, "about 4 is usual"
