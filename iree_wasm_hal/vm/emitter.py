"""Statements for the instructions that are no terminators.

Operands become locals: ``i3`` for a value slot, ``r2`` for a ref; the names of everything else
are listed in ``vm.codegen``.
"""

from __future__ import annotations

import ast
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from iree_wasm_hal.vm.isa import IMPORT_BIT, MOVE_BIT, REF_BIT
from iree_wasm_hal.vm.operands import call_parts
from iree_wasm_hal.vm.syntax import POSITION, Operand, Template, constant, load, name
from iree_wasm_hal.vm.templates import MOVING_TEMPLATES, TEMPLATES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iree_wasm_hal.vm.calling_convention import CallingConvention
    from iree_wasm_hal.vm.instructions import Instruction, Moves
    from iree_wasm_hal.vm.verifier import VerifiedFunction, VerifiedModule

__all__ = ["Emitter", "assign", "charge", "equals", "move_statements", "register_operand"]

_VALUE_KINDS = frozenset("iIfF")
_GLOBAL_SHIFTS = {"i": 2, "f": 2, "I": 3, "F": 3}

_CHARGE = Template("B[0] -= a0\nif B[0] < 0:\n    _over()")
_IF_EQUAL = Template("if a0 == a1:\n    pass")
_RESOLVED = Template("a1 = P[a0]")
_PICK = Template("a3 = a2[a0] if 0 <= a0 < a4 else a1")
_IF_OUTSIDE = Template("if not 0 <= a0 < a1:\n    pass")
_PICK_REF = Template("a0 = _check_ref(a1, a2)")
_ASSIGN = Template("a0 = a1")


@cache
def _template(mnemonic: str, moving: bool) -> Template:
    return Template((MOVING_TEMPLATES if moving else TEMPLATES)[mnemonic])


@lru_cache(maxsize=4096)
def register_operand(register: int) -> Operand:
    """The local of an encoded register."""
    if register & REF_BIT:
        return name(f"r{register & ~(REF_BIT | MOVE_BIT)}")
    return name(f"i{register}")


def _is_moved(register: int) -> bool:
    return register & (REF_BIT | MOVE_BIT) == REF_BIT | MOVE_BIT


_NONE = constant(None)


def _tuple(items: Sequence[ast.expr], *, target: bool = False) -> ast.expr:
    return ast.Tuple(list(items), ast.Store() if target else ast.Load(), **POSITION)


def assign(target: ast.expr, value: ast.expr, line: int) -> ast.stmt:
    """An assignment."""
    return _ASSIGN.expand({"a0": (target, target), "a1": (value, value)}, line)[0]


def _nulls(registers: Sequence[int], line: int) -> list[ast.stmt]:
    return [assign(register_operand(register)[1], _NONE[0], line) for register in registers]


def equals(value: ast.expr, number: int, line: int) -> ast.expr:
    """The test ``value == number``."""
    statement = _IF_EQUAL.expand({"a0": (value, value), "a1": constant(number)}, line)[0]
    assert isinstance(statement, ast.If)
    return statement.test


def charge(count: int, line: int) -> list[ast.stmt]:
    """Takes instructions off the budget."""
    return _CHARGE.expand({"a0": constant(count)}, line)


def move_statements(moves: Moves, line: int) -> list[ast.stmt]:
    """A branch's moves, one after the other as the VM makes them."""
    body: list[ast.stmt] = []
    for source, target in moves:
        if source & ~MOVE_BIT == target & ~MOVE_BIT:
            continue
        body.append(assign(register_operand(target)[1], register_operand(source)[0], line))
        if _is_moved(source):
            body += _nulls([source], line)
    return body


def _instruction_count(function: VerifiedFunction) -> int:
    return sum(len(block.instructions) for block in function.blocks)


class Emitter:
    """Emits the straight-line instructions of one module's functions."""

    def __init__(self, module: VerifiedModule) -> None:
        self.module = module

    def _operand(self, encoding: str, value: Any, opcode_operands: tuple[str, ...]) -> Operand:
        if encoding in _VALUE_KINDS or encoding[0] == ">" or encoding in ("r", "R"):
            return register_operand(value)
        if encoding == "g":
            return constant(value >> _GLOBAL_SHIFTS[opcode_operands[1][-1]])
        if encoding == "type":
            return name(f"K{value}")
        if encoding == "rodata":
            return name(f"R{value}")
        return constant(value)

    def _operands(self, instruction: Instruction) -> dict[str, Operand]:
        encodings = instruction.opcode.operands
        return {
            f"a{index}": self._operand(encoding, value, encodings)
            for index, (encoding, value) in enumerate(
                zip(encodings, instruction.operands, strict=True)
            )
        }

    def instruction(self, instruction: Instruction) -> list[ast.stmt]:
        """Statements of any instruction but a terminator."""
        mnemonic = instruction.opcode.mnemonic
        line = instruction.offset + 1
        if mnemonic in TEMPLATES:
            return self._plain(instruction)
        if mnemonic.startswith("call"):
            return self.call(instruction)
        if mnemonic == "import.resolved":
            ordinal, target = instruction.operands
            index = constant(ordinal & ~IMPORT_BIT)
            return _RESOLVED.expand({"a0": index, "a1": register_operand(target)}, line)
        if mnemonic == "switch.ref":
            return self._switch_ref(instruction)
        if mnemonic.startswith("switch"):
            return self._switch_value(instruction)
        # trace, print: nothing but the refs they consume; discard.refs: all of them.
        registers: tuple[int, ...] = instruction.operands[-1]
        is_discard = mnemonic == "discard.refs"
        return _nulls([r for r in registers if is_discard or _is_moved(r)], line)

    def _plain(self, instruction: Instruction) -> list[ast.stmt]:
        opcode = instruction.opcode
        line = instruction.offset + 1
        operands = self._operands(instruction)
        if opcode.mnemonic == "list.alloc":
            operands["a0"] = name(f"T{instruction.operands[0]}")
        pairs = list(zip(opcode.operands, instruction.operands, strict=True))
        written = [value & ~MOVE_BIT for kind, value in pairs if kind == ">R"]
        moving = opcode.mnemonic in MOVING_TEMPLATES and any(
            kind == ">R" and _is_moved(value) for kind, value in pairs
        )
        moved = [
            value
            for kind, value in pairs
            if kind == "R" and _is_moved(value) and value & ~MOVE_BIT not in written
        ]
        body = _template(opcode.mnemonic, moving).expand(operands, line)
        return body + _nulls(moved, line)

    def _switch_value(self, instruction: Instruction) -> list[ast.stmt]:
        index, default, values, target = instruction.operands
        items = [register_operand(value)[0] for value in values]
        table = _tuple(items)
        operands = {
            "a0": register_operand(index),
            "a1": register_operand(default),
            "a2": (table, table),
            "a3": register_operand(target),
            "a4": constant(len(items)),
        }
        return _PICK.expand(operands, instruction.offset + 1)

    def _switch_ref(self, instruction: Instruction) -> list[ast.stmt]:
        """Only the ref that is picked is moved from. Flat, since tables can be long."""
        index, kind, default, values, target = instruction.operands
        line = instruction.offset + 1
        number = register_operand(index)

        def pick(register: int) -> list[ast.stmt]:
            operands = {"a0": name("t"), "a1": register_operand(register), "a2": name(f"K{kind}")}
            moved = [register] if _is_moved(register) else []
            return _PICK_REF.expand(operands, line) + _nulls(moved, line)

        body: list[ast.stmt] = []
        for position, register in enumerate(values):
            body.append(ast.If(equals(number[0], position, line), pick(register), [], **POSITION))
        (outside,) = _IF_OUTSIDE.expand({"a0": number, "a1": constant(len(values))}, line)
        assert isinstance(outside, ast.If)
        outside.body = pick(default)
        return [*body, outside, assign(register_operand(target)[1], load("t"), line)]

    def call(self, instruction: Instruction) -> list[ast.stmt]:
        """Statements of a call, yieldable ones included."""
        ordinal, sizes, operands, results = call_parts(instruction)
        line = instruction.offset + 1
        if ordinal & IMPORT_BIT:
            convention = self.module.imports[ordinal ^ IMPORT_BIT]
            callee = load(f"m{ordinal ^ IMPORT_BIT}")
            body = []
        else:
            convention = self.module.functions[ordinal].convention
            callee = load(f"f{ordinal}")
            body = charge(_instruction_count(self.module.functions[ordinal]), line)
        arguments = self._arguments(convention, sizes, operands)
        value = ast.Call(callee, arguments, [], **{**POSITION, "lineno": line, "end_lineno": line})
        targets = [register_operand(register)[1] for register in results]
        if not targets:
            body.append(ast.Expr(value, **POSITION))
        else:
            target = targets[0] if len(targets) == 1 else _tuple(targets, target=True)
            body.append(assign(target, value, line))
        kept = {register & ~MOVE_BIT for register in results}
        moved = [r for r in operands if _is_moved(r) and r & ~MOVE_BIT not in kept]
        return body + _nulls(moved, line)

    @staticmethod
    def _arguments(
        convention: CallingConvention, sizes: tuple[int, ...] | None, registers: tuple[int, ...]
    ) -> list[ast.expr]:
        """One expression per argument; a span is a tuple, of tuples where it has many types."""
        values: list[ast.expr] = []
        moved: set[int] = set()
        for register in registers:
            # A ref that an earlier operand moved is null by now.
            values.append(
                _NONE[0] if register & ~MOVE_BIT in moved else register_operand(register)[0]
            )
            if _is_moved(register):
                moved.add(register & ~MOVE_BIT)
        arguments: list[ast.expr] = []
        position = 0
        for index, argument in enumerate(convention.arguments):
            if isinstance(argument, str):
                arguments.append(values[position])
                position += 1
                continue
            width = len(argument.types)
            count = sizes[index] if sizes is not None else 0
            group = values[position : position + width * count]
            if width > 1:
                group = [_tuple(group[i : i + width]) for i in range(0, len(group), width)]
            arguments.append(_tuple(group))
            position += width * count
        return arguments
