"""Bounds that wasm3's compiler does not check.

wasm3 tracks a function's values in arrays of 2,000 entries and its slots in one of 4,000. Most
overruns are errors of its own, but not where a block is entered (results are placed without a look
at the outcome) and not where a call places its result: above every slot in use, so that a chain of
calls climbs two slots with each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iree_wasm_hal_wasm3.validation.module import F64, I64, FunctionFacts

if TYPE_CHECKING:
    from iree_wasm_hal_wasm3.validation.module import FunctionType

__all__ = ["MAX_PARAMETER_COUNT", "MAX_TABLE_SIZE", "MAX_TYPE_COUNT", "FunctionUse"]

MAX_PARAMETER_COUNT = 1000
"""``d_m3MaxSaneFunctionArgRetCount`` (m3_core.h)."""
MAX_TYPE_COUNT = 10_000
"""wasm3 compares each type with all before it: 0.4 s for this many, 11 s for five times as many."""
_MAX_STACK_HEIGHT = 2000  # d_m3MaxFunctionStackHeight (m3_config.h)
_MAX_SLOT_COUNT = 4000  # d_m3MaxFunctionSlots
_CONSTANT_SLOT_COUNT = 120  # d_m3MaxConstantTableSize
_SPARE = 16
_MAX_BLOCK_DEPTH = 1000
MAX_TABLE_SIZE = 100_000
"""``d_m3MaxSaneTableSize``."""


@dataclass(slots=True)
class FunctionUse:
    """What one function asks of wasm3's compiler.

    Attributes:
        fixed_slot_count: Slots of result, parameters and locals.
        local_count: Parameters and locals.
        loop_depth: Open loops at this point.
        max_loop_depth: The most there were.
        block_results: Results of the blocks that are open.
        call_results: Results of all calls so far.
        calls: Whether there is any call.
    """

    fixed_slot_count: int
    local_count: int = 0
    loop_depth: int = 0
    max_loop_depth: int = 0
    block_results: int = 0
    call_results: int = 0
    calls: bool = False

    @classmethod
    def of(cls, function_type: FunctionType, local_types: list[int]) -> FunctionUse:
        """What a function needs before its first instruction."""
        parameter_count = len(function_type.parameters)
        wide = sum(each in {I64, F64} for each in local_types[parameter_count:])
        locals_slots = len(local_types) - parameter_count + wide
        fixed = 2 * (len(function_type.results) + parameter_count) + locals_slots
        return cls(fixed, len(local_types))

    def exceeded(self, height: int, depth: int) -> str | None:
        """What is too much for wasm3, if anything.

        Args:
            height: Operands on the stack.
            depth: Blocks that are open.
        """
        if depth > _MAX_BLOCK_DEPTH:
            return f"has blocks nested deeper than {_MAX_BLOCK_DEPTH}; wasm3 recurses over them"
        values = self.local_count + height + self.block_results + _SPARE
        if values > _MAX_STACK_HEIGHT:
            return f"needs {values} values at once; wasm3 has room for {_MAX_STACK_HEIGHT}"
        operands = height + self.block_results + self.call_results
        slots = self.fixed_slot_count + _CONSTANT_SLOT_COUNT + 2 * (operands + _SPARE)
        if slots > _MAX_SLOT_COUNT:
            return f"may need {slots} slots; wasm3 has {_MAX_SLOT_COUNT}"
        return None

    def facts(self) -> FunctionFacts:
        """What matters once the function is compiled."""
        return FunctionFacts(self.fixed_slot_count, self.max_loop_depth, self.calls)
