"""A module with state and one import, and the Python module that serves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iree_wasm_hal.vm.native import PyModule

if TYPE_CHECKING:
    from collections.abc import Callable

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


def host(**functions: Callable[..., Any]) -> PyModule:
    module = PyModule("host", version=2)

    @module.function("add", "0ii_i")
    def add(a: int, b: int) -> int:
        return a + b

    @module.function("tick", "0v_v")
    def tick() -> None:
        return None

    return module
