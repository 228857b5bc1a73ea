"""The typing rules of control instructions: blocks, branches and calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal_wasm3.validation.code import ANY, REACHABLE, UNREACHABLE, CodeState, Frame
from iree_wasm_hal_wasm3.validation.module import I32

if TYPE_CHECKING:
    from iree_wasm_hal_wasm3.validation.module import FunctionType

__all__ = ["BLOCKS", "ControlRules"]

_LOOP, _IF, _ELSE = 0x03, 0x04, 0x05
BLOCKS = (0x02, _LOOP, _IF)
"""Opcodes that open a block."""
_EMPTY_BLOCK_TYPE = 0x40


class ControlRules(CodeState):
    """Handlers of control instructions."""

    def unreachable(self, start: int, position: int) -> int:
        """``unreachable``."""
        del start
        self.set_unreachable(position)
        return position

    def block(self, start: int, position: int) -> int:
        """``block``, ``loop`` and ``if``."""
        opcode, block_type = self.code[start], self.code[position]
        if block_type == _EMPTY_BLOCK_TYPE:
            results = b""
        elif 0x7C <= block_type <= 0x7F:
            results = bytes((block_type,))
        else:
            self.fail(start, f"block type {block_type:#04x}; wasm3 takes no parameters of blocks")
        if opcode == _IF:
            self.pop(I32, start)
        use = self.use
        use.block_results += len(results)
        if opcode == _LOOP:
            use.loop_depth += 1
            use.max_loop_depth = max(use.max_loop_depth, use.loop_depth)
        self._check_use(start)
        self.stack.append(REACHABLE)
        label = b"" if opcode == _LOOP else results
        self.frames.append(Frame(opcode, results, label, len(self.stack)))
        return position + 1

    def _check_use(self, start: int) -> None:
        depth = len(self.frames)
        excess = self.use.exceeded(len(self.stack) - depth - 1, depth)
        if excess:
            self.fail(start, f"the function {excess}")

    def else_(self, start: int, position: int) -> int:
        """``else``."""
        frame = self.frames[-1]
        if frame.opcode != _IF:
            self.fail(start, "there is no if")
        self._close(start, frame)
        self.stack.append(REACHABLE)
        self.frames.append(frame._replace(opcode=_ELSE))
        return position

    def end(self, start: int, position: int) -> int:
        """``end``."""
        frame = self.frames[-1]
        if frame.opcode == _IF and frame.results:
            self.fail(start, "if without else cannot have a result")
        self._close(start, frame)
        self.use.block_results -= len(frame.results) if self.frames else 0
        self.use.loop_depth -= frame.opcode == _LOOP
        self.stack += frame.results
        return position

    def _close(self, start: int, frame: Frame) -> None:
        """Takes the results of the innermost block, which ends."""
        self.pop_types(start, frame.results)
        if self.stack[-1] not in {REACHABLE, UNREACHABLE}:
            self.fail(start, f"{len(self.stack) - frame.height} values too many in the block")
        if self.stack[-1] == UNREACHABLE:
            self.note_dead_code(frame.height, start)
        del self.stack[-1]
        del self.frames[-1]

    def pop_types(self, start: int, types: bytes) -> None:
        """Takes operands of these types, the last from the top."""
        for value_type in reversed(types):
            self.pop(value_type, start)

    def br(self, start: int, position: int) -> int:
        """``br``."""
        label, position = self._label(start, position)
        self.pop_types(start, label)
        self.set_unreachable(position)
        return position

    def br_if(self, start: int, position: int) -> int:
        """``br_if``."""
        label, position = self._label(start, position)
        self.pop(I32, start)
        self.pop_types(start, label)
        self.stack += label
        return position

    def br_table(self, start: int, position: int) -> int:
        """``br_table``."""
        number, position = self.u32(start, position)
        if number >= len(self.code) - position:
            self.fail(start, f"{number} targets announced")
        self.pop(I32, start)
        labels = set()
        for _ in range(number + 1):
            label, position = self._label(start, position)
            labels.add(label)
        if len({len(label) for label in labels}) > 1:
            self.fail(start, "targets take different numbers of values")
        for each in labels:
            if each and self.stack[-1] not in {each[0], ANY, UNREACHABLE}:
                self.pop(each[0], start)
        self.pop_types(start, label)
        self.set_unreachable(position)
        return position

    def _label(self, start: int, position: int) -> tuple[bytes, int]:
        depth, position = self.u32(start, position)
        if depth >= len(self.frames):
            self.fail(start, f"label {depth} of {len(self.frames)}")
        return self.frames[-1 - depth].label, position

    def return_(self, start: int, position: int) -> int:
        """``return``."""
        self.pop_types(start, self.results)
        self.set_unreachable(position)
        return position

    def call(self, start: int, position: int) -> int:
        """``call``."""
        index, position = self.u32(start, position)
        if index >= len(self.module.functions):
            self.fail(start, f"function {index} of {len(self.module.functions)}")
        self._apply(start, self.module.functions[index])
        return position

    def call_indirect(self, start: int, position: int) -> int:
        """``call_indirect``."""
        index, position = self.u32(start, position)
        if index >= len(self.module.types):
            self.fail(start, f"type {index} of {len(self.module.types)}")
        if self.code[position] != 0:
            self.fail(start, "zero byte expected")
        if not self.module.tables:
            self.fail(start, "there is no table")
        self.pop(I32, start)
        self._apply(start, self.module.types[index])
        return position + 1

    def _apply(self, start: int, function_type: FunctionType) -> None:
        self.use.calls = True
        self.use.call_results += len(function_type.results)
        self._check_use(start)
        self.pop_types(start, function_type.parameters)
        self.stack += function_type.results
