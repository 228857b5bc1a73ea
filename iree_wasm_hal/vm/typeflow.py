"""Type flow of a function's registers: what each slot holds wherever it is read.

The reference VM's registers are untyped memory that every width aliases. We reject reading a slot
as another type than was last written, on any path, so that each slot can be one Python local: a
64-bit value lives in the local of its even slot. Registers start as zero or null; a slot that may
be read before it is written gets an initial value, which must be one of integer or float.

Branches move 64-bit values as two 32-bit halves; the halves must stand next to each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from iree_wasm_hal.errors import BytecodeError
from iree_wasm_hal.vm.calling_convention import CallingConvention
from iree_wasm_hal.vm.isa import MOVE_BIT, REF_BIT
from iree_wasm_hal.vm.operands import argument_registers, call_parts, edges, operand_types

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iree_wasm_hal.vm.instructions import Block, Instruction, Moves

__all__ = ["Effort", "Flow", "check_types"]


_ZERO, _I32, _I64, _I64_HIGH, _F32, _F64, _F64_HIGH, _MIXED, _REF = range(9)
_MAYBE_ZERO = 16
_TYPE_MASK = 15
_CODES = {"i": (_I32,), "I": (_I64, _I64_HIGH), "f": (_F32,), "F": (_F64, _F64_HIGH)}
_NAMES = ("nothing", "i32", "i64", "i64 (upper half)", "f32", "f64", "f64 (upper half)")
_INTEGER, _FLOAT = 1, 2
_MAX_STATE_BYTES = 1 << 27
"""Bound on blocks times registers: one byte is kept for each."""

Callee = Callable[[int], CallingConvention]


@dataclass(frozen=True, slots=True)
class Flow:
    """What code generation needs to know.

    Attributes:
        reachable: Indices of the blocks that control can reach.
        initial: Encoded registers that may be read before they are written, each with its
            starting value: 0, 0.0 or None.
        moves: Moves by terminator offset and position of the edge, without the upper halves of
            64-bit values.
    """

    reachable: frozenset[int]
    initial: tuple[tuple[int, int | float | None], ...]
    moves: Mapping[tuple[int, int], Moves]


class Effort:
    """Bounds the time that verifying one module may take, so that no file can stall a load.

    Real functions are visited two or three times per block; the worst ones would be visited as
    often as they have registers. Units are about a microsecond.
    """

    __slots__ = ("left",)

    _BASE = 20_000_000
    _PER_BYTE = 20

    def __init__(self, bytecode_length: int) -> None:
        self.left = self._BASE + self._PER_BYTE * bytecode_length

    def visit(self, slot_count: int, instruction_count: int) -> None:
        """Charges a visit of a block, or of an edge (no instructions).

        Raises:
            BytecodeError: The bound is met.
        """
        self.left -= 10 + slot_count // 200 + 3 * instruction_count
        if self.left < 0:
            raise BytecodeError("the control flow is too large to verify")


class _State:
    """Types of all slots at one point, value registers first, refs after them."""

    def __init__(self, slots: bytearray, i32_count: int, initial: dict[int, int]) -> None:
        self.slots = slots
        self.i32_count = i32_count
        self.initial = initial

    def read(self, register: int, kind: str) -> None:
        if register & REF_BIT:
            if kind != "r":
                raise BytecodeError(f"ref register {register:#x} where a {kind!r} is expected")
            slot = self.i32_count + (register & ~(REF_BIT | MOVE_BIT))
            if self.slots[slot] != _REF:
                self.initial[register & ~MOVE_BIT] = 0
            return
        codes = _CODES.get(kind)
        if codes is None:
            raise BytecodeError(f"register i{register} where a ref is expected")
        self.check_pair(register, codes)
        found = self.slots[register : register + len(codes)]
        if not any(found):
            self.start_as(register, kind)
            return
        for value, code in zip(found, codes, strict=True):
            if value & _TYPE_MASK != code:
                held = value & _TYPE_MASK
                name = "different types on different paths" if held == _MIXED else _NAMES[held]
                raise BytecodeError(
                    f"register i{register} is read as {_NAMES[codes[0]]}; it holds {name}"
                )
        if found[0] & _MAYBE_ZERO:
            self.start_as(register, kind)

    def check_pair(self, register: int, codes: tuple[int, ...]) -> None:
        if register % len(codes) or register + len(codes) > self.i32_count:
            raise BytecodeError(f"register i{register} cannot hold a 64-bit value")

    def start_as(self, register: int, kind: str) -> None:
        flags = self.initial.get(register, 0) | (_FLOAT if kind in "fF" else _INTEGER)
        if flags == _INTEGER | _FLOAT:
            raise BytecodeError(
                f"register i{register} is read as an integer and as a float before it is written"
            )
        self.initial[register] = flags

    def write(self, register: int, kind: str) -> None:
        if register & REF_BIT:
            if kind != "r":
                raise BytecodeError(f"ref register {register:#x} for a {kind!r} result")
            self.slots[self.i32_count + (register & ~(REF_BIT | MOVE_BIT))] = _REF
            return
        codes = _CODES.get(kind)
        if codes is None:
            raise BytecodeError(f"register i{register} for a ref result")
        self.check_pair(register, codes)
        self.put(register, codes)

    def put(self, register: int, codes: tuple[int, ...]) -> None:
        slots = self.slots
        # A value half overwritten is no value any more.
        if slots[register] & _TYPE_MASK in (_I64_HIGH, _F64_HIGH):
            slots[register - 1] = _MIXED
        end = register + len(codes)
        if slots[end - 1] & _TYPE_MASK in (_I64, _F64):
            slots[end] = _MIXED
        slots[register:end] = bytes(codes)

    def move(self, moves: Moves) -> Moves:
        """Makes a branch's moves, one after the other; returns them without upper halves."""
        position = 0
        kept = []
        while position < len(moves):
            source, target = moves[position]
            position += 1
            kept.append((source, target))
            if source & REF_BIT:
                self.read(source, "r")
                self.write(target, "r")
                continue
            held = self.slots[source] & _TYPE_MASK
            kind = {_ZERO: "i", _I32: "i", _F32: "f", _I64: "I", _F64: "F"}.get(held)
            if kind is None:
                raise BytecodeError(f"register i{source} is moved; it holds {_describe(held)}")
            if kind in "IF":
                if position == len(moves) or moves[position] != (source + 1, target + 1):
                    raise BytecodeError(f"half of the 64-bit register i{source} is moved")
                position += 1
            self.read(source, kind)
            self.write(target, kind)
        return tuple(kept)


def _describe(held: int) -> str:
    return "different types on different paths" if held == _MIXED else _NAMES[held]


def _merge(old: bytearray, new: bytearray) -> bytearray:
    if old == new:
        return old
    a = np.frombuffer(old, np.uint8)
    b = np.frombuffer(new, np.uint8)
    merged = np.where((a ^ b) & _TYPE_MASK == 0, a | b, _MIXED)
    merged = np.where((a == _ZERO) & (b != _ZERO), b | _MAYBE_ZERO, merged)
    merged = np.where((b == _ZERO) & (a != _ZERO), a | _MAYBE_ZERO, merged)
    return bytearray(merged.astype(np.uint8).tobytes())


class _Flow:
    def __init__(
        self,
        blocks: tuple[Block, ...],
        convention: CallingConvention,
        callee: Callee,
        i32_count: int,
        ref_count: int,
        effort: Effort,
    ) -> None:
        self.blocks = blocks
        self.convention = convention
        self.callee = callee
        self.i32_count = i32_count
        self.initial: dict[int, int] = {}
        self.inputs: dict[int, bytearray] = {}
        self.moves: dict[tuple[int, int], Moves] = {}
        self.effort = effort
        entry = _State(bytearray(i32_count + ref_count), i32_count, self.initial)
        for register, kind in zip(
            argument_registers(convention), "".join(map(str, convention.arguments)), strict=True
        ):
            entry.write(register, kind)
        self.inputs[0] = entry.slots

    def run(self) -> None:
        pending = [0]
        queued = {0}
        while pending:
            index = pending.pop()
            queued.discard(index)
            block = self.blocks[index]
            state = _State(bytearray(self.inputs[index]), self.i32_count, self.initial)
            self.effort.visit(len(state.slots), len(block.instructions))
            for instruction in block.instructions:
                self.step(state, instruction)
            for position, (target, moves) in enumerate(edges(block.instructions[-1])):
                if self.flow_into(block, state, position, target, moves) and target not in queued:
                    queued.add(target)
                    pending.append(target)

    def flow_into(
        self, block: Block, state: _State, position: int, target: int, moves: Moves
    ) -> bool:
        """Merges the state into a successor; whether that changed the successor's input."""
        after = _State(bytearray(state.slots), self.i32_count, self.initial)
        self.effort.visit(len(after.slots), 0)
        try:
            self.moves[block.instructions[-1].offset, position] = after.move(moves)
        except BytecodeError as cause:
            _locate(block.instructions[-1], cause)
        old = self.inputs.get(target)
        merged = after.slots if old is None else _merge(old, after.slots)
        self.inputs[target] = merged
        return merged != old

    def step(self, state: _State, instruction: Instruction) -> None:
        try:
            opcode = instruction.opcode
            if "func" in opcode.operands and "*" in opcode.operands:
                self.call(state, instruction)
            elif opcode.mnemonic == "return":
                self.leave(state, instruction)
            else:
                self.plain(state, instruction)
        except BytecodeError as cause:
            _locate(instruction, cause)

    def plain(self, state: _State, instruction: Instruction) -> None:
        written = []
        for encoding, value in zip(instruction.opcode.operands, instruction.operands, strict=True):
            if encoding in ("i", "I", "f", "F"):
                state.read(value, encoding)
            elif encoding in ("r", "R"):
                state.read(value, "r")
            elif encoding[0] == ">":
                written.append((value, encoding[1].replace("R", "r")))
            elif encoding == "*":
                self.discards(state, instruction, value)
            elif encoding[0] == "*":
                for register in value:
                    state.read(register, encoding[1].replace("R", "r"))
        for register, kind in written:
            state.write(register, kind)

    @staticmethod
    def discards(state: _State, instruction: Instruction, registers: tuple[int, ...]) -> None:
        for register in registers:
            if register & REF_BIT:
                if register & MOVE_BIT or instruction.opcode.mnemonic == "discard.refs":
                    state.write(register, "r")
            elif instruction.opcode.mnemonic == "discard.refs":
                raise BytecodeError(f"register i{register} is discarded; expected refs")

    def call(self, state: _State, instruction: Instruction) -> None:
        ordinal, sizes, operands, results = call_parts(instruction)
        convention = self.callee(ordinal)
        types = operand_types(convention, sizes, len(operands))
        for register, kind in zip(operands, types, strict=True):
            state.read(register, kind)
        if len(results) != len(convention.results):
            raise BytecodeError(
                f"{len(results)} results for {len(convention.results)} of {convention.text}"
            )
        for register, kind in zip(results, convention.results, strict=True):
            state.write(register, kind)

    def leave(self, state: _State, instruction: Instruction) -> None:
        registers: tuple[int, ...] = instruction.operands[0]
        expected = self.convention.results
        if len(registers) != len(expected):
            raise BytecodeError(
                f"returns {len(registers)} values for {len(expected)} of {self.convention.text}"
            )
        for register, kind in zip(registers, expected, strict=True):
            state.read(register, kind)


def _locate(instruction: Instruction, cause: BytecodeError) -> NoReturn:
    raise BytecodeError(
        f"at byte {instruction.offset} ({instruction.opcode.mnemonic}): {cause}"
    ) from cause


def check_types(
    blocks: tuple[Block, ...],
    convention: CallingConvention,
    callee: Callee,
    *,
    i32_count: int,
    ref_count: int,
    effort: Effort,
) -> Flow:
    """Checks the register types of a decoded function.

    Args:
        blocks: Its blocks; control enters the first.
        convention: Its calling convention.
        callee: Calling convention of a function ordinal (import bit kept).
        i32_count: 32-bit registers of the frame.
        ref_count: Ref registers of the frame.
        effort: Bound on the work, shared by a module's functions.

    Raises:
        BytecodeError: A register read as another type than it holds, or a call or return that
            does not fit its calling convention; names the byte.
    """
    if len(blocks) * (i32_count + ref_count) > _MAX_STATE_BYTES:
        raise BytecodeError(
            f"{len(blocks)} blocks of {i32_count + ref_count} registers are too large to verify"
        )
    flow = _Flow(blocks, convention, callee, i32_count, ref_count, effort)
    flow.run()
    initial: list[tuple[int, int | float | None]] = []
    for register, flags in sorted(flow.initial.items()):
        if register & REF_BIT:
            initial.append((register, None))
        else:
            initial.append((register, 0.0 if flags == _FLOAT else 0))
    return Flow(frozenset(flow.inputs), tuple(initial), flow.moves)
