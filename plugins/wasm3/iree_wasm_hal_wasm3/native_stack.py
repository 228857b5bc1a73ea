"""Keeps recursion in wasm from using up the native stack.

wasm3 compares its value stack with that stack's end when a function is entered, and never looks at
the native stack, of which a call takes up to twenty times as much. So the value stack of an
instance is made so small that it ends first: for each function, the native stack that a call in it
takes (``calibration.py``) over the value stack that it takes, the worst of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iree_wasm_hal_wasm3.c_api import SLOT_BYTE_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterable

    from iree_wasm_hal.engine import StackCheck
    from iree_wasm_hal_wasm3.calibration import CallCost
    from iree_wasm_hal_wasm3.config import EngineOptions
    from iree_wasm_hal_wasm3.validation.module import FunctionFacts

_LEAST_FRAME_SLOT_COUNT = 2
"""wasm3 moves its stack by this much at every call (CompileCallArgsAndReturn, m3_compile.c)."""


@dataclass(frozen=True, slots=True)
class StackBudget:
    """What calls may use.

    Attributes:
        options: The engine's options.
        cost: Native stack that a call takes.
        thread_check: Refuses threads with small stacks.
    """

    options: EngineOptions
    cost: CallCost
    thread_check: StackCheck

    def value_stack_byte_length(self, functions: Iterable[FunctionFacts]) -> int:
        """Size of the value stack for a module of these functions."""
        byte_length = self.options.max_value_stack_byte_length
        for function in functions:
            if function.calls:
                native = self.cost.byte_length(function.loop_depth)
                slots = max(function.frame_slot_count, _LEAST_FRAME_SLOT_COUNT)
                frames = self.options.max_native_stack_byte_length // native
                byte_length = min(byte_length, frames * slots * SLOT_BYTE_LENGTH)
        return byte_length
