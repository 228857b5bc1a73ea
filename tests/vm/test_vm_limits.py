"""Limits of contexts: instructions, time, call depth, host memory."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from vm_modules import COUNTER, host

from iree_wasm_hal.errors import CallTimeoutError, InterruptedCallError, LimitError
from iree_wasm_hal.hal.call import Call, inside
from iree_wasm_hal.vm.context import Context
from iree_wasm_hal.vm.module import BytecodeModule
from iree_wasm_hal.vm.types import Buffer

if TYPE_CHECKING:
    from collections.abc import Callable

    Assemble = Callable[[str], bytes]

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


def test_instruction_budget(assemble: Assemble) -> None:
    module = BytecodeModule.from_bytes(assemble(ENDLESS))
    context = Context([host(), module], instruction_budget=100_000)
    for name in ("spin", "double30"):
        with pytest.raises(LimitError, match="more than 100000 VM instructions") as caught:
            context.function(name)(1)
        assert caught.value.allowed == 100_000
    assert context.function("double8")(1) is None


@pytest.mark.parametrize("name", ["spin", "double30"])
def test_time_out_and_cancel(name: str, assemble: Assemble) -> None:
    context = Context([host(), BytecodeModule.from_bytes(assemble(ENDLESS))])
    with inside(Call(0.05)), pytest.raises(CallTimeoutError):
        context.function(name)(1)
    call = Call()
    timer = threading.Timer(0.05, call.cancel)
    timer.start()
    with inside(call), pytest.raises(InterruptedCallError, match="cancelled"):
        context.function(name)(1)
    timer.join()
    assert context.function("double1")(1) is None


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
