"""What an engine does when it opens: shows that it computes, and that it catches a fault.

The second also makes JavaScriptCore install its signal handlers now, if it has not, so that the
core can tell later whether somebody replaced them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.engine import PAGE_SIZE, MemoryType, TrapKind
from iree_wasm_hal.errors import EngineUnavailableError, Error, TrapError
from iree_wasm_hal_jsc.instance import instantiate
from iree_wasm_hal_jsc.memory import create_memory
from iree_wasm_hal_jsc.program import NativeProgram

if TYPE_CHECKING:
    from iree_wasm_hal_jsc.virtual_machine import VirtualMachine

# (module (import "env" "memory" (memory 1))
#   (func (export "load") (param i32) (result i32) (i32.load (local.get 0))))
_LOAD = bytes.fromhex(
    "0061736d0100000001060160017f017f020f0103656e76066d656d6f7279020001030201000708"
    "01046c6f616400000a0901070020002802000b"
)
_NUMBER = 0x01020304


def check(machine: VirtualMachine) -> None:
    """Runs one load inside the memory and one outside.

    Raises:
        EngineUnavailableError: A result is wrong, or JavaScriptCore cannot do it at all.
    """
    try:
        outcome = _run(machine)
    except Error as error:
        msg = f"engine 'jsc': JavaScriptCore cannot run a module of one load: {error}"
        raise EngineUnavailableError(msg) from error
    if outcome != (_NUMBER, TrapKind.OUT_OF_BOUNDS_MEMORY):
        msg = f"engine 'jsc': JavaScriptCore miscomputes a load: {outcome}"
        raise EngineUnavailableError(msg)


def _run(machine: VirtualMachine) -> tuple[int | None, str]:
    with machine.entered():
        machine.send(_LOAD)
        program = NativeProgram(machine, machine.run("compile"))
    memory = create_memory(machine, MemoryType(1, 1))
    memory.view()[8:12] = _NUMBER.to_bytes(4, "little")
    load = instantiate(program, memory.native()).function("load")
    inside = load(8)
    try:
        load(PAGE_SIZE - 3)
    except TrapError as trap:
        return inside, trap.kind
    return inside, "nothing"
