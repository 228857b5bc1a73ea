"""What the operands of calls and branches mean, in one place for verifier and code generation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.errors import BytecodeError
from iree_wasm_hal.vm.calling_convention import CallingConvention, Span
from iree_wasm_hal.vm.isa import REF_BIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iree_wasm_hal.vm.instructions import Instruction, Moves

__all__ = ["argument_registers", "call_parts", "edges", "operand_types"]


def argument_registers(convention: CallingConvention) -> tuple[int, ...]:
    """Encoded registers that arguments arrive in; 64-bit values take the next even pair.

    Raises:
        BytecodeError: The convention is variadic, which internal functions cannot be.
    """
    registers = []
    values = refs = 0
    for argument in convention.arguments:
        if isinstance(argument, Span):
            raise BytecodeError("only imports can take variadic arguments")
        if argument == "r":
            registers.append(refs | REF_BIT)
            refs += 1
        elif argument in "IF":
            values += values & 1
            registers.append(values)
            values += 2
        else:
            registers.append(values)
            values += 1
    return tuple(registers)


def operand_types(convention: CallingConvention, sizes: Sequence[int] | None, count: int) -> str:
    """Types of a call's operand registers, spans laid out flat.

    Args:
        convention: The callee's.
        sizes: One number of groups per argument, None for a call without variadic segments.
        count: Length of the operand list.

    Raises:
        BytecodeError: The list lengths do not fit the convention.
    """
    arguments = convention.arguments
    if sizes is None and convention.is_variadic:
        raise BytecodeError(f"{convention.text} is variadic, the call has no segment sizes")
    if sizes is not None and len(sizes) != len(arguments):
        raise BytecodeError(
            f"{len(sizes)} segment sizes for {len(arguments)} arguments of {convention.text}"
        )
    types = ""
    for index, argument in enumerate(arguments):
        if isinstance(argument, str):
            types += argument
        elif sizes is not None and len(argument.types) * sizes[index] <= count:
            types += argument.types * sizes[index]
        else:
            raise BytecodeError(f"segment {index} of {convention.text} is longer than the operands")
    if len(types) != count:
        raise BytecodeError(f"{count} operands for {len(types)} of {convention.text}")
    return types


def edges(instruction: Instruction) -> list[tuple[int, Moves]]:
    """Successor blocks of a terminator with the moves made on the way, in operand order."""
    found: list[tuple[int, Moves]] = []
    encodings = instruction.opcode.operands
    for index, encoding in enumerate(encodings):
        value = instruction.operands[index]
        if encoding == "pc":
            moves = instruction.operands[index + 1] if "moves" in encodings else ()
            found.append((value, moves))
        elif encoding == "cases":
            found.extend(value)
    return found


def call_parts(
    instruction: Instruction,
) -> tuple[int, tuple[int, ...] | None, tuple[int, ...], tuple[int, ...]]:
    """Callee ordinal, segment sizes or None, operand and result registers of a call."""
    parts = dict(zip(instruction.opcode.operands, instruction.operands, strict=True))
    return parts["func"], parts.get("sizes"), parts["*"], parts[">*"]
