"""The typing rules of variables, memory, constants and unary operators, and where each stands."""

from __future__ import annotations

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

__all__ = ["CodeValidator"]

_MEMORY_COPY, _MEMORY_FILL = 0x0A, 0x0B
_MEMORY_GROW = 0x40


class CodeValidator(ControlRules):
    """One per module; ``check`` is called for each body."""

    def unknown(self, start: int, position: int) -> int:
        """Whatever is not in the dialect."""
        del position
        self.fail(start, "wasm3 does not have this instruction")

    def unary(self, start: int, position: int) -> int:
        """Operators of one operand."""
        opcode = self.code[start]
        if self.stack[-1] != OPERAND[opcode]:
            self.pop(OPERAND[opcode], start)
            self.stack.append(ANY)
        self.stack[-1] = RESULT[opcode]
        return position

    def load(self, start: int, position: int) -> int:
        """Loads."""
        opcode = self.code[start]
        position = self._memarg(start, position, LOADS[opcode])
        if self.stack[-1] != I32:
            self.pop(I32, start)
            self.stack.append(ANY)
        self.stack[-1] = OPERAND[opcode]
        return position

    def store(self, start: int, position: int) -> int:
        """Stores."""
        opcode = self.code[start]
        position = self._memarg(start, position, STORES[opcode])
        self.pop(OPERAND[opcode], start)
        self.pop(I32, start)
        return position

    def _memarg(self, start: int, position: int, max_alignment: int) -> int:
        alignment, position = self.u32(start, position)
        if alignment > max_alignment:
            self.fail(start, f"alignment 2**{alignment} is larger than natural")
        self._need_memory(start)
        return self.u32(start, position)[1]

    def _need_memory(self, start: int) -> None:
        if not self.module.memories:
            self.fail(start, "there is no memory")

    def local_set(self, start: int, position: int) -> int:
        """``local.set``."""
        index, position = self._local(start, position)
        self.pop(self.locals[index], start)
        return position

    def local_tee(self, start: int, position: int) -> int:
        """``local.tee``."""
        index, position = self._local(start, position)
        self.pop(self.locals[index], start)
        self.stack.append(self.locals[index])
        return position

    def _local(self, start: int, position: int) -> tuple[int, int]:
        index, position = self.u32(start, position)
        if index >= len(self.locals):
            self.fail(start, f"local {index} of {len(self.locals)}")
        return index, position

    def global_get(self, start: int, position: int) -> int:
        """``global.get``."""
        index, position = self._global(start, position)
        self.stack.append(self.module.globals[index].value_type)
        return position

    def global_set(self, start: int, position: int) -> int:
        """``global.set``."""
        index, position = self._global(start, position)
        if not self.module.globals[index].mutable:
            self.fail(start, f"global {index} is immutable")
        self.pop(self.module.globals[index].value_type, start)
        return position

    def _global(self, start: int, position: int) -> tuple[int, int]:
        index, position = self.u32(start, position)
        if index >= len(self.module.globals):
            self.fail(start, f"global {index} of {len(self.module.globals)}")
        return index, position

    def i64_const(self, start: int, position: int) -> int:
        """``i64.const``."""
        self.stack.append(I64)
        return self.signed(start, position, 64)

    def f32_const(self, start: int, position: int) -> int:
        """``f32.const``."""
        del start
        self.stack.append(F32)
        return position + 4

    def f64_const(self, start: int, position: int) -> int:
        """``f64.const``."""
        del start
        self.stack.append(F64)
        return position + 8

    def nop(self, start: int, position: int) -> int:
        """``nop``."""
        del start
        return position

    def drop(self, start: int, position: int) -> int:
        """``drop``."""
        self.pop_any(start)
        return position

    def select(self, start: int, position: int) -> int:
        """``select`` without a type."""
        self.pop(I32, start)
        second, first = self.pop_any(start), self.pop_any(start)
        if first != second and ANY not in {first, second}:
            self.fail(start, f"operands are {TYPE_NAMES[first]} and {TYPE_NAMES[second]}")
        self.stack.append(first or second)
        return position

    def memory_size(self, start: int, position: int) -> int:
        """``memory.size`` and ``memory.grow``."""
        if self.code[position] != 0:
            self.fail(start, "zero byte expected")
        self._need_memory(start)
        if self.code[start] == _MEMORY_GROW:
            self.note_memory_grow(start)
            self.pop(I32, start)
        self.stack.append(I32)
        return position + 1

    def prefixed(self, start: int, position: int) -> int:
        """Saturating truncation, ``memory.copy`` and ``memory.fill``."""
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


# Handlers are functions, not methods of one validator, which would keep itself alive.
_RULES = {
    0x00: CodeValidator.unreachable,
    0x01: CodeValidator.nop,
    0x05: CodeValidator.else_,
    0x0B: CodeValidator.end,
    0x0C: CodeValidator.br,
    0x0D: CodeValidator.br_if,
    0x0E: CodeValidator.br_table,
    0x0F: CodeValidator.return_,
    0x10: CodeValidator.call,
    0x11: CodeValidator.call_indirect,
    0x1A: CodeValidator.drop,
    0x1B: CodeValidator.select,
    0x21: CodeValidator.local_set,
    0x22: CodeValidator.local_tee,
    0x23: CodeValidator.global_get,
    0x24: CodeValidator.global_set,
    0x3F: CodeValidator.memory_size,
    0x40: CodeValidator.memory_size,
    0x42: CodeValidator.i64_const,
    0x43: CodeValidator.f32_const,
    0x44: CodeValidator.f64_const,
    0xFC: CodeValidator.prefixed,
}
_RULES.update(dict.fromkeys(BLOCKS, CodeValidator.block))
_RULES.update(dict.fromkeys(UNARY, CodeValidator.unary))
_RULES.update(dict.fromkeys(LOADS, CodeValidator.load))
_RULES.update(dict.fromkeys(STORES, CodeValidator.store))
CodeValidator.handlers = [_RULES.get(opcode, CodeValidator.unknown) for opcode in range(256)]
