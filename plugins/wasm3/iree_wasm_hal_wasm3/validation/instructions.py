"""The typing rules of variables, memory, constants and unary operators, and where each stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal_wasm3.validation.code import ANY
from iree_wasm_hal_wasm3.validation.control import BLOCKS, ControlRules
from iree_wasm_hal_wasm3.validation.module import F32, F64, I32, I64, TYPE_NAMES
from iree_wasm_hal_wasm3.validation.opcodes import (
    LOADS,
    OPERAND,
    RESULT,
    SATURATING,
    STORES,
    UNARY,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from iree_wasm_hal_wasm3.validation.module import ModuleInfo

__all__ = ["CodeValidator"]

_MEMORY_COPY, _MEMORY_FILL = 0x0A, 0x0B
_MEMORY_GROW = 0x40


class CodeValidator(ControlRules):
    """One per module; ``check`` is called for each body."""

    def __init__(self, module: ModuleInfo) -> None:
        super().__init__(module)
        self.handlers: list[Callable[[int, int], int]] = [self._unknown] * 256
        for table, handler in (
            (UNARY, self._unary),
            (LOADS, self._load),
            (STORES, self._store),
            (BLOCKS, self._block),
            ((0x3F, _MEMORY_GROW), self._memory_size),
        ):
            for opcode in table:
                self.handlers[opcode] = handler
        for opcode, name in _RULES.items():
            self.handlers[opcode] = getattr(self, name)

    def _unknown(self, start: int, position: int) -> int:
        del position
        self.fail(start, "wasm3 does not have this instruction")

    def _unary(self, start: int, position: int) -> int:
        opcode = self.code[start]
        if self.stack[-1] != OPERAND[opcode]:
            self.pop(OPERAND[opcode], start)
            self.stack.append(ANY)
        self.stack[-1] = RESULT[opcode]
        return position

    def _load(self, start: int, position: int) -> int:
        opcode = self.code[start]
        position = self._memarg(start, position, LOADS[opcode])
        if self.stack[-1] != I32:
            self.pop(I32, start)
            self.stack.append(ANY)
        self.stack[-1] = OPERAND[opcode]
        return position

    def _store(self, start: int, position: int) -> int:
        opcode = self.code[start]
        position = self._memarg(start, position, STORES[opcode])
        self.pop(OPERAND[opcode], start)
        self.pop(I32, start)
        return position

    def _memarg(self, start: int, position: int, max_alignment: int) -> int:
        alignment, position = self.u32(position)
        if alignment > max_alignment:
            self.fail(start, f"alignment 2**{alignment} is larger than natural")
        self._need_memory(start)
        return self.u32(position)[1]

    def _need_memory(self, start: int) -> None:
        if not self.module.memories:
            self.fail(start, "there is no memory")

    def _local_set(self, start: int, position: int) -> int:
        index, position = self._local(start, position)
        self.pop(self.locals[index], start)
        return position

    def _local_tee(self, start: int, position: int) -> int:
        index, position = self._local(start, position)
        self.pop(self.locals[index], start)
        self.stack.append(self.locals[index])
        return position

    def _local(self, start: int, position: int) -> tuple[int, int]:
        index, position = self.u32(position)
        if index >= len(self.locals):
            self.fail(start, f"local {index} of {len(self.locals)}")
        return index, position

    def _global_get(self, start: int, position: int) -> int:
        index, position = self._global(start, position)
        self.stack.append(self.module.globals[index].value_type)
        return position

    def _global_set(self, start: int, position: int) -> int:
        index, position = self._global(start, position)
        if not self.module.globals[index].mutable:
            self.fail(start, f"global {index} is immutable")
        self.pop(self.module.globals[index].value_type, start)
        return position

    def _global(self, start: int, position: int) -> tuple[int, int]:
        index, position = self.u32(position)
        if index >= len(self.module.globals):
            self.fail(start, f"global {index} of {len(self.module.globals)}")
        return index, position

    def _i64_const(self, start: int, position: int) -> int:
        del start
        self.stack.append(I64)
        return self.signed(position, 64)

    def _f32_const(self, start: int, position: int) -> int:
        del start
        self.stack.append(F32)
        return position + 4

    def _f64_const(self, start: int, position: int) -> int:
        del start
        self.stack.append(F64)
        return position + 8

    def _nop(self, start: int, position: int) -> int:
        del start
        return position

    def _drop(self, start: int, position: int) -> int:
        self.pop_any(start)
        return position

    def _select(self, start: int, position: int) -> int:
        self.pop(I32, start)
        second, first = self.pop_any(start), self.pop_any(start)
        if first != second and ANY not in {first, second}:
            self.fail(start, f"operands are {TYPE_NAMES[first]} and {TYPE_NAMES[second]}")
        self.stack.append(first or second)
        return position

    def _memory_size(self, start: int, position: int) -> int:
        if self.code[position] != 0:
            self.fail(start, "zero byte expected")
        self._need_memory(start)
        if self.code[start] == _MEMORY_GROW:
            self.note_memory_grow(start)
            self.pop(I32, start)
        self.stack.append(I32)
        return position + 1

    def _prefixed(self, start: int, position: int) -> int:
        opcode = self.code[position]  # wasm3 reads one byte where LEB128 allows more
        position += 1
        if opcode < len(SATURATING):
            operand, result = SATURATING[opcode]
            self.pop(operand, start)
            self.stack.append(result)
            return position
        if opcode not in {_MEMORY_COPY, _MEMORY_FILL}:
            self.fail(start, f"wasm3 does not have the instruction 0xfc {opcode:#04x}")
        for _ in range(2 if opcode == _MEMORY_COPY else 1):
            if self.code[position] != 0:
                self.fail(start, "zero byte expected")
            position += 1
        self._need_memory(start)
        for _ in range(3):
            self.pop(I32, start)
        return position


_RULES = {
    0x00: "_unreachable",
    0x01: "_nop",
    0x05: "_else",
    0x0B: "_end",
    0x0C: "_br",
    0x0D: "_br_if",
    0x0E: "_br_table",
    0x0F: "_return",
    0x10: "_call",
    0x11: "_call_indirect",
    0x1A: "_drop",
    0x1B: "_select",
    0x21: "_local_set",
    0x22: "_local_tee",
    0x23: "_global_get",
    0x24: "_global_set",
    0x42: "_i64_const",
    0x43: "_f32_const",
    0x44: "_f64_const",
    0xFC: "_prefixed",
}
