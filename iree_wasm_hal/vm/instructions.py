"""Decoding of one function's bytecode into blocks of instructions, each field checked.

Everything that a single instruction can get wrong by itself is found here, derived from the
operand encodings of ``vm.isa``: register bank, range and alignment, ordinals, global ranges,
list lengths, branch targets. What needs other instructions or the callee is checked in
``vm.verifier`` and ``vm.typeflow``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from iree_wasm_hal.errors import BytecodeError
from iree_wasm_hal.vm.isa import (
    BLOCK,
    IMPORT_BIT,
    INSTRUCTION_SETS,
    MOVE_BIT,
    PREFIXES,
    REF_BIT,
    Opcode,
)
from iree_wasm_hal.vm.module_def import Features

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "MAX_FUNCTION_INSTRUCTIONS",
    "Block",
    "Bounds",
    "Instruction",
    "Moves",
    "decode_function",
]

Moves = tuple[tuple[int, int], ...]
"""Encoded (source, target) registers of a branch, in execution order."""

MAX_FUNCTION_INSTRUCTIONS = 1 << 16
"""Bound per function. Real host programs have up to a few thousand; compiling a function takes
about 8 KB of memory per instruction while it lasts."""

_GLOBAL_WIDTHS = {"i": 4, "f": 4, "I": 8, "F": 8}
_SET_FEATURES = {"ext_f32": Features.EXT_F32, "ext_f64": Features.EXT_F64}


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many of everything the module has, for ordinal checks."""

    type_count: int
    rodata_count: int
    import_count: int
    function_count: int
    global_byte_length: int
    global_ref_count: int


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction.

    Attributes:
        offset: Byte offset in the function.
        opcode: Its row of the ISA table.
        operands: One decoded value per encoding: a register ordinal (ref bits kept), a number,
            bytes for ``str``, a tuple for lists, the block index for ``pc``. Their types follow
            from ``opcode.operands``, which no type checker sees: hence Any.
    """

    offset: int
    opcode: Opcode
    operands: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """A block: straight-line instructions, the last one a terminator."""

    offset: int
    instructions: tuple[Instruction, ...]


class _Reader:
    """Cursor over one function's bytecode; every read is bounds-checked."""

    def __init__(
        self,
        data: memoryview,
        bounds: Bounds,
        i32_count: int,
        ref_count: int,
        requirements: int,
    ) -> None:
        self.data = data
        self.bounds = bounds
        self.i32_count = i32_count
        self.ref_count = ref_count
        self.requirements = requirements
        self.position = 0
        self.start = 0
        self.mnemonic = ""

    def fail(self, reason: str) -> NoReturn:
        raise BytecodeError(f"at byte {self.start} ({self.mnemonic or 'opcode'}): {reason}")

    def number(self, format_: str) -> int:
        length = struct.calcsize(format_)
        end = self.position + length
        if end > len(self.data):
            self.fail(f"needs {end} bytes, the function has {len(self.data)}")
        value: int = struct.unpack_from(format_, self.data, self.position)[0]
        self.position = end
        return value

    def u16(self) -> int:
        end = self.position + 2
        if end > len(self.data):
            self.fail(f"needs {end} bytes, the function has {len(self.data)}")
        value = self.data[self.position] | self.data[self.position + 1] << 8
        self.position = end
        return value

    def raw(self, byte_length: int) -> bytes:
        end = self.position + byte_length
        if end > len(self.data):
            self.fail(f"needs {end} bytes, the function has {len(self.data)}")
        value = bytes(self.data[self.position : end])
        self.position = end
        return value

    def list_start(self) -> int:
        """Skips to the next u16 and reads the count of a list."""
        self.position += self.position & 1
        return self.u16()

    def opcode(self) -> Opcode:
        self.start = self.position
        self.mnemonic = ""
        code = self.number("<B")
        set_name = PREFIXES.get(code)
        if set_name is None:
            found = INSTRUCTION_SETS["core"].get(code)
        else:
            if not self.requirements & _SET_FEATURES[set_name]:
                self.fail(f"uses {set_name}, which the function's requirements do not name")
            code = self.number("<B")
            found = INSTRUCTION_SETS[set_name].get(code)
        if found is None:
            self.fail(f"opcode {code:#04x} does not exist in {set_name or 'core'}")
        self.mnemonic = found.mnemonic
        return found

    # Registers.

    def value_register(self, kind: str) -> int:
        """A register of kind i, I, f or F."""
        register = self.u16()
        self.check_value_register(register, kind)
        return register

    def check_value_register(self, register: int, kind: str) -> None:
        if register & REF_BIT:
            self.fail(f"register {register:#x} is a ref; expected a value")
        width = 2 if kind in "IF" else 1
        if register % width:
            self.fail(f"64-bit register {register} is not even")
        if register + width > self.i32_count:
            self.fail(f"register {register} of {self.i32_count}")

    def ref_register(self, *, may_move: bool) -> int:
        register = self.u16()
        self.check_ref_register(register)
        if register & MOVE_BIT and not may_move:
            self.fail(f"register {register:#x} has the move bit, which this operand cannot have")
        return register

    def check_ref_register(self, register: int) -> None:
        if not register & REF_BIT:
            self.fail(f"register {register} is a value; expected a ref")
        ordinal = register & ~(REF_BIT | MOVE_BIT)
        if ordinal >= self.ref_count:
            self.fail(f"ref register {ordinal} of {self.ref_count}")

    def any_register(self) -> int:
        register = self.u16()
        if register & REF_BIT:
            self.check_ref_register(register)
        else:
            self.check_value_register(register, "i")
        return register

    def register_list(self, kind: str) -> tuple[int, ...]:
        count = self.list_start()
        if kind == "":
            return tuple(self.any_register() for _ in range(count))
        if kind == "R":
            return tuple(self.ref_register(may_move=True) for _ in range(count))
        return tuple(self.value_register(kind) for _ in range(count))

    # Ordinals and ranges.

    def ordinal(self, count: int, what: str) -> int:
        value = self.number("<I")
        if value >= count:
            self.fail(f"{what} {value} of {count}")
        return value

    def global_offset(self, kind: str) -> int:
        value = self.number("<I")
        width = _GLOBAL_WIDTHS[kind]
        if value % width:
            self.fail(f"global at byte {value} is not aligned to {width}")
        if value + width > self.bounds.global_byte_length:
            self.fail(
                f"global at byte {value} of width {width} ends past the"
                f" {self.bounds.global_byte_length} bytes of globals"
            )
        return value

    def function_ordinal(self) -> int:
        value = self.number("<I")
        if value & IMPORT_BIT:
            if value ^ IMPORT_BIT >= self.bounds.import_count:
                self.fail(f"import {value ^ IMPORT_BIT} of {self.bounds.import_count}")
        elif value >= self.bounds.function_count:
            self.fail(f"function {value} of {self.bounds.function_count}")
        return value

    # Branches; targets are resolved to block indices when all blocks are known.

    def moves(self) -> Moves:
        pairs = []
        for _ in range(self.list_start()):
            source, target = self.any_register(), self.any_register()
            if (source ^ target) & REF_BIT:
                self.fail(f"moves register {source:#x} to {target:#x} of the other bank")
            pairs.append((source, target))
        return tuple(pairs)

    def cases(self) -> tuple[tuple[int, Moves], ...]:
        return tuple((self.number("<I"), self.moves()) for _ in range(self.u16()))

    def operand(self, encoding: str, opcode: Opcode) -> object:
        simple = _OPERANDS.get(encoding)
        if simple is not None:
            return simple(self)
        # Only "g" depends on another operand: the type that is loaded or stored.
        return self.global_offset(opcode.operands[1][-1])

    def instruction(self) -> Instruction:
        opcode = self.opcode()
        start = self.start
        return Instruction(
            start,
            opcode,
            tuple([self.operand(encoding, opcode) for encoding in opcode.operands]),
        )


def _operand_readers() -> dict[str, Callable[[_Reader], object]]:
    readers: dict[str, Callable[[_Reader], object]] = {
        "r": lambda reader: reader.ref_register(may_move=False),
        "R": lambda reader: reader.ref_register(may_move=True),
        ">R": lambda reader: reader.ref_register(may_move=True),
        "gr": lambda reader: reader.ordinal(reader.bounds.global_ref_count, "global ref"),
        "rodata": lambda reader: reader.ordinal(reader.bounds.rodata_count, "rodata segment"),
        "type": lambda reader: reader.ordinal(reader.bounds.type_count, "type"),
        "func": _Reader.function_ordinal,
        "str": lambda reader: reader.raw(reader.u16()),
        "*": lambda reader: reader.register_list(""),
        ">*": lambda reader: reader.register_list(""),
        "*R": lambda reader: reader.register_list("R"),
        "sizes": lambda reader: tuple(reader.u16() for _ in range(reader.list_start())),
        "pc": lambda reader: reader.number("<I"),
        "moves": _Reader.moves,
        "cases": _Reader.cases,
    }
    for kind, format_ in (("i", "<i"), ("I", "<q"), ("f", "<f"), ("F", "<d")):
        readers[kind] = readers[f">{kind}"] = lambda reader, k=kind: reader.value_register(k)  # type: ignore[misc] # default argument binds the loop variable
        readers[f"*{kind}"] = lambda reader, k=kind: reader.register_list(k)  # type: ignore[misc] # as above
        readers[f"#{kind}"] = lambda reader, f=format_: reader.number(f)  # type: ignore[misc] # as above
    return readers


_OPERANDS = _operand_readers()


def decode_function(
    data: memoryview,
    bounds: Bounds,
    *,
    i32_count: int,
    ref_count: int,
    requirements: int,
) -> tuple[Block, ...]:
    """Decodes a function.

    Args:
        data: The function's bytecode.
        bounds: The module's tables.
        i32_count: 32-bit registers of the frame.
        ref_count: Ref registers of the frame.
        requirements: The function's ``Features``.

    Returns:
        The blocks in the order of the bytecode; block 0 is the entry.

    Raises:
        BytecodeError: Any field that is out of range, or a malformed block; names the byte.
    """
    reader = _Reader(data, bounds, i32_count, ref_count, requirements)
    blocks: list[Block] = []
    count = 0
    while reader.position < len(data):
        marker = reader.opcode()
        if marker.code != BLOCK or marker.instruction_set != "core":
            reader.fail("is not in a block")
        start = reader.start
        body: list[Instruction] = []
        while not body or not body[-1].opcode.is_terminator:
            if reader.position >= len(data):
                reader.fail("the last block has no terminator")
            instruction = reader.instruction()
            if instruction.opcode.mnemonic == "block":
                reader.fail("the block before it has no terminator")
            body.append(instruction)
            count += 1
            if count > MAX_FUNCTION_INSTRUCTIONS:
                reader.fail(f"the function has more than {MAX_FUNCTION_INSTRUCTIONS} instructions")
        blocks.append(Block(start, tuple(body)))
    if not blocks:
        raise BytecodeError("has no blocks")
    indices = {block.offset: index for index, block in enumerate(blocks)}
    return tuple(_resolve_block(block, indices) for block in blocks)


def _resolve_block(block: Block, indices: dict[int, int]) -> Block:
    last = block.instructions[-1]
    operands: list[Any] = []
    for encoding, value in zip(last.opcode.operands, last.operands, strict=True):
        if encoding == "pc":
            operands.append(_resolve_target(last, value, indices))
        elif encoding == "cases":
            operands.append(
                tuple((_resolve_target(last, pc, indices), moves) for pc, moves in value)
            )
        else:
            operands.append(value)
    resolved = Instruction(last.offset, last.opcode, tuple(operands))
    return Block(block.offset, (*block.instructions[:-1], resolved))


def _resolve_target(instruction: Instruction, pc: int, indices: dict[int, int]) -> int:
    index = indices.get(pc)
    if index is None:
        raise BytecodeError(
            f"at byte {instruction.offset} ({instruction.opcode.mnemonic}): branches to byte {pc},"
            " where no block begins"
        )
    return index
