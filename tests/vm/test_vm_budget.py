"""Bounds of a context where calls nest and time runs out between calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from iree_wasm_hal.errors import CallTimeoutError, InterruptedCallError, LimitError
from iree_wasm_hal.hal.call import THIS_THREAD, Call, inside
from iree_wasm_hal.vm.account import MemoryAccount
from iree_wasm_hal.vm.buffer import Buffer
from iree_wasm_hal.vm.context import Context
from iree_wasm_hal.vm.module import BytecodeModule
from iree_wasm_hal.vm.native import PyModule

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCE = """
vm.module @nested version 0
vm.import @host.again cconv "0i_v"
vm.export @f
vm.func @f(%i0: i32) -> () {
^bb0:
  vm.call @host.again(%i0)
  vm.br ^bb1()
^bb1:
  %i1 = vm.const.i32 1
  %i0 = vm.sub.i32 %i0, %i1
  vm.cond_br %i0, ^bb1(), ^bb2()
^bb2:
  vm.call @host.again(%i0)
  vm.return
}
"""


def _context(assemble: Callable[[str], bytes], **options: int) -> tuple[Context, list[int]]:
    native = PyModule("host")
    seen: list[int] = []
    contexts: list[Context] = []

    @native.function("again", "0i_v")
    def again(value: int) -> None:
        seen.append(value)
        if value > 1000:
            contexts[0].function("f")(value // 2)
        if value == 77:
            assert THIS_THREAD.call is not None
            THIS_THREAD.call.cancel()

    contexts.append(Context([native, BytecodeModule.from_bytes(assemble(SOURCE))], **options))
    return contexts[0], seen


def test_a_nested_call_shares_the_budget(assemble: Callable[[str], bytes]) -> None:
    context, _ = _context(assemble, instruction_budget=100_000)
    context.function("f")(5_000)
    with pytest.raises(LimitError, match="VM instructions"):
        context.function("f")(30_000)
    context.function("f")(5_000)


def test_a_cancel_from_inside_ends_the_call(assemble: Callable[[str], bytes]) -> None:
    context, seen = _context(assemble)
    with inside(Call()), pytest.raises(InterruptedCallError, match="cancelled"):
        context.function("f")(77)
    assert seen == [77]
    context.function("f")(5)
    assert seen == [77, 5, 0]


def test_a_call_whose_time_is_up_stops_even_straight_code(
    assemble: Callable[[str], bytes],
) -> None:
    context, seen = _context(assemble)
    with inside(Call(0.0)), pytest.raises(CallTimeoutError, match=r"timeout of 0\.0 s"):
        context.function("f")(1)
    assert seen == []
    with inside(Call(100.0)):
        context.function("f")(1)
    assert seen == [1, 0]


def test_more_than_the_machine_has() -> None:
    account = MemoryAccount(1 << 70)
    for length in (1 << 62, -1):
        with pytest.raises(LimitError, match="the machine cannot give them"):
            Buffer.allocate(length, 16, account)
    assert account.used_bytes == 0


def test_a_long_hash_is_bounded(assemble: Callable[[str], bytes]) -> None:
    text = """
    vm.module @long version 0
    vm.export @f
    vm.func @f(%r0: !vm.ref<?>) -> (i64) {
    ^bb0:
      %i0:1 = vm.buffer.length %r0
      %i2:3 = vm.const.i64.zero
      %i2:3 = vm.buffer.hash %r0, %i2:3, %i0:1
      vm.return %i2
    }
    """
    module = BytecodeModule.from_bytes(assemble(text))
    contents = Buffer(bytes(1 << 24))
    with pytest.raises(LimitError, match="VM instructions"):
        Context([module], instruction_budget=1_000_000).function("f")(contents)
    context = Context([module])
    with inside(Call(0.05)), pytest.raises(CallTimeoutError):
        context.function("f")(contents)
    # The reference vector of SipHash-2-4 for the input 00 01 .. 0e, as the paper prints it.
    digest = context.function("f")(Buffer(bytes(range(15))))
    assert digest == 0xA129CA6149BE45E5 - 2**64
