"""Python functions for verified VM functions.

A function becomes one Python function whose locals are its registers: ``i3`` for a value slot,
``r2`` for a ref. Everything else it names is in the namespace of its module instance:

- helpers with a leading underscore (``vm.numbers``, ``vm.objects``, ``vm.instance``),
- ``f7`` an internal function, ``m4`` an import, ``R2`` a rodata buffer, ``K3``/``T3`` a type,
  ``S1_20`` the message of the ``fail`` at byte 20 of function 1, ``G``, ``G_i32``, ``G_ref``
  the globals, ``P`` the import-is-resolved flags, ``B`` the budget, ``D`` the call depth.

The tree is built from integers and from templates of ours; no string of a file reaches the
compiler. Line numbers of the code are byte offsets in the bytecode, plus one.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache, lru_cache
from types import CodeType
from typing import TYPE_CHECKING, Any

from iree_wasm_hal.vm.isa import IMPORT_BIT, MOVE_BIT, REF_BIT
from iree_wasm_hal.vm.layout import Layout, plan_layout
from iree_wasm_hal.vm.syntax import (
    FILE_NAME,
    POSITION,
    Operand,
    Template,
    constant,
    load,
    name,
    store,
)
from iree_wasm_hal.vm.templates import MOVING_TEMPLATES, TEMPLATES
from iree_wasm_hal.vm.typeflow import call_parts, edges

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from iree_wasm_hal.vm.calling_convention import CallingConvention
    from iree_wasm_hal.vm.instructions import Instruction, Moves
    from iree_wasm_hal.vm.verifier import VerifiedFunction, VerifiedModule

__all__ = ["MAX_CALL_DEPTH", "GeneratedFunction", "generate"]

MAX_CALL_DEPTH = 1024
"""Frames of recursive functions in one call."""

_VALUE_KINDS = frozenset("iIfF")
_GLOBAL_SHIFTS = {"i": 2, "f": 2, "I": 3, "F": 3}

_CHARGE = Template("B[0] -= a0\nif B[0] < 0:\n    _over()")
_ENTER = Template("D[0] += 1\nif D[0] > a0:\n    _too_deep()")
_LEAVE = Template("D[0] -= 1")
_JUMP = Template("b = a0")
_IF_EQUAL = Template("if a0 == a1:\n    pass")
_RAISE = Template("raise _fail(a0, a1)")
_RESOLVED = Template("a1 = P[a0]")
_PICK = Template("a3 = a2[a0] if 0 <= a0 < a4 else a1")
_PICK_REF = Template("a0 = _check_ref(a1, a2)")
_ASSIGN = Template("a0 = a1")


@dataclass(frozen=True, slots=True)
class GeneratedFunction:
    """Compiled code of a function and the messages it names.

    Attributes:
        code: Code object; becomes a function with a namespace as its globals.
        messages: ``S``-names to fail messages.
    """

    code: CodeType
    messages: Mapping[str, str]


@cache
def _template(mnemonic: str, moving: bool) -> Template:
    return Template((MOVING_TEMPLATES if moving else TEMPLATES)[mnemonic])


@lru_cache(maxsize=4096)
def _register(register: int) -> Operand:
    if register & REF_BIT:
        return name(f"r{register & ~(REF_BIT | MOVE_BIT)}")
    return name(f"i{register}")


def _is_moved(register: int) -> bool:
    return register & (REF_BIT | MOVE_BIT) == REF_BIT | MOVE_BIT


_NONE = constant(None)


def _tuple(items: Sequence[ast.expr], *, target: bool = False) -> ast.expr:
    return ast.Tuple(list(items), ast.Store() if target else ast.Load(), **POSITION)


def _assign(target: ast.expr, value: ast.expr, line: int) -> ast.stmt:
    return _ASSIGN.expand({"a0": (target, target), "a1": (value, value)}, line)[0]


def _nulls(registers: Sequence[int], line: int) -> list[ast.stmt]:
    return [_assign(_register(register)[1], _NONE[0], line) for register in registers]


class _Generator:
    def __init__(self, module: VerifiedModule, function: VerifiedFunction, recursive: bool) -> None:
        self.module = module
        self.function = function
        self.recursive = recursive
        self.messages: dict[str, str] = {}
        self.layout: Layout = plan_layout(function)

    # Operands.

    def operand(self, encoding: str, value: Any, opcode_operands: tuple[str, ...]) -> Operand:
        if encoding in _VALUE_KINDS or encoding[0] == ">" or encoding in ("r", "R"):
            return _register(value)
        if encoding == "g":
            return constant(value >> _GLOBAL_SHIFTS[opcode_operands[1][-1]])
        if encoding == "type":
            return name(f"K{value}")
        if encoding == "rodata":
            return name(f"R{value}")
        return constant(value)

    def operands(self, instruction: Instruction) -> dict[str, Operand]:
        encodings = instruction.opcode.operands
        return {
            f"a{index}": self.operand(encoding, value, encodings)
            for index, (encoding, value) in enumerate(
                zip(encodings, instruction.operands, strict=True)
            )
        }

    # Instructions that are no terminators.

    def instruction(self, instruction: Instruction) -> list[ast.stmt]:
        mnemonic = instruction.opcode.mnemonic
        line = instruction.offset + 1
        if mnemonic in TEMPLATES:
            return self.plain(instruction)
        if mnemonic.startswith("call"):
            return self.call(instruction)
        if mnemonic == "import.resolved":
            ordinal, target = instruction.operands
            index = constant(ordinal & ~IMPORT_BIT)
            return _RESOLVED.expand({"a0": index, "a1": _register(target)}, line)
        if mnemonic == "switch.ref":
            return self.switch_ref(instruction)
        if mnemonic.startswith("switch"):
            return self.switch_value(instruction)
        # trace, print: nothing but the refs they consume; discard.refs: all of them.
        registers: tuple[int, ...] = instruction.operands[-1]
        is_discard = mnemonic == "discard.refs"
        return _nulls([r for r in registers if is_discard or _is_moved(r)], line)

    def plain(self, instruction: Instruction) -> list[ast.stmt]:
        opcode = instruction.opcode
        line = instruction.offset + 1
        operands = self.operands(instruction)
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

    def switch_value(self, instruction: Instruction) -> list[ast.stmt]:
        index, default, values, target = instruction.operands
        items = [_register(value)[0] for value in values]
        table = _tuple(items)
        operands = {
            "a0": _register(index),
            "a1": _register(default),
            "a2": (table, table),
            "a3": _register(target),
            "a4": constant(len(items)),
        }
        return _PICK.expand(operands, instruction.offset + 1)

    def switch_ref(self, instruction: Instruction) -> list[ast.stmt]:
        """Only the ref that is picked is moved from."""
        index, kind, default, values, target = instruction.operands
        line = instruction.offset + 1
        target_register: int = target

        def pick(register: int) -> list[ast.stmt]:
            operands = {"a0": name("t"), "a1": _register(register), "a2": name(f"K{kind}")}
            keep = not _is_moved(register)
            return _PICK_REF.expand(operands, line) + ([] if keep else _nulls([register], line))

        chain = pick(default)
        for position, register in reversed(list(enumerate(values))):
            test = self.equals(_register(index)[0], position, line)
            chain = [ast.If(test, pick(register), chain, **POSITION)]
        return [*chain, _assign(_register(target_register)[1], load("t"), line)]

    @staticmethod
    def equals(value: ast.expr, number: int, line: int) -> ast.expr:
        statement = _IF_EQUAL.expand({"a0": (value, value), "a1": constant(number)}, line)[0]
        assert isinstance(statement, ast.If)
        return statement.test

    # Calls.

    def call(self, instruction: Instruction) -> list[ast.stmt]:
        ordinal, sizes, operands, results = call_parts(instruction)
        line = instruction.offset + 1
        if ordinal & IMPORT_BIT:
            convention = self.module.imports[ordinal ^ IMPORT_BIT]
            callee = load(f"m{ordinal ^ IMPORT_BIT}")
            body = []
        else:
            convention = self.module.functions[ordinal].convention
            callee = load(f"f{ordinal}")
            body = self.charge(_instruction_count(self.module.functions[ordinal]), line)
        arguments = self.arguments(convention, sizes, operands)
        value = ast.Call(callee, arguments, [], **{**POSITION, "lineno": line, "end_lineno": line})
        targets = [_register(register)[1] for register in results]
        if not targets:
            body.append(ast.Expr(value, **POSITION))
        else:
            target = targets[0] if len(targets) == 1 else _tuple(targets, target=True)
            body.append(_assign(target, value, line))
        kept = {register & ~MOVE_BIT for register in results}
        moved = [r for r in operands if _is_moved(r) and r & ~MOVE_BIT not in kept]
        return body + _nulls(moved, line)

    @staticmethod
    def arguments(
        convention: CallingConvention, sizes: tuple[int, ...] | None, registers: tuple[int, ...]
    ) -> list[ast.expr]:
        """One expression per argument; a span is a tuple, of tuples where it has many types."""
        values: list[ast.expr] = []
        moved: set[int] = set()
        for register in registers:
            # A ref that an earlier operand moved is null by now.
            values.append(_NONE[0] if register & ~MOVE_BIT in moved else _register(register)[0])
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

    @staticmethod
    def charge(count: int, line: int) -> list[ast.stmt]:
        return _CHARGE.expand({"a0": constant(count)}, line)

    # Control flow.

    def leave(self, instruction: Instruction) -> list[ast.stmt]:
        registers: tuple[int, ...] = instruction.operands[0]
        line = instruction.offset + 1
        values = [_register(register)[0] for register in registers]
        result = _NONE[0] if not values else values[0] if len(values) == 1 else _tuple(values)
        body = _LEAVE.expand({}, line) if self.recursive else []
        return [*body, ast.Return(result, **POSITION)]

    @staticmethod
    def moves(moves: Moves, line: int) -> list[ast.stmt]:
        body: list[ast.stmt] = []
        for source, target in moves:
            if source & ~MOVE_BIT == target & ~MOVE_BIT:
                continue
            body.append(_assign(_register(target)[1], _register(source)[0], line))
            if _is_moved(source):
                body += _nulls([source], line)
        return body

    def edges(self, last: Instruction) -> list[tuple[int, Moves]]:
        """Successors with the moves that type flow left: 64-bit values move as one."""
        return [
            (target, self.function.flow.moves[last.offset, index])
            for index, (target, _) in enumerate(edges(last))
        ]

    def edge(self, block: int, moves: Moves, line: int, root: int) -> tuple[list[ast.stmt], int]:
        """Statements that follow an edge; the block to go on with, or -1 after a jump."""
        body = self.moves(moves, line)
        number = self.layout.numbers.get(block)
        if number is None:
            return body, block
        if number <= self.layout.numbers[root]:
            body += self.charge(self.layout.sizes[root], line)
        body += _JUMP.expand({"a0": constant(number)}, line)
        return [*body, ast.Continue(**POSITION)], -1

    def tree(self, start: int, root: int) -> list[ast.stmt]:
        """A block and the blocks inlined after it; control never runs off its end."""
        body: list[ast.stmt] = []
        block = start
        while block >= 0:
            *straight, last = self.function.blocks[block].instructions
            for instruction in straight:
                body += self.instruction(instruction)
            added, block = self.terminator(last, root)
            body += added
        return body

    def terminator(self, last: Instruction, root: int) -> tuple[list[ast.stmt], int]:
        mnemonic = last.opcode.mnemonic
        line = last.offset + 1
        if mnemonic == "return":
            return self.leave(last), -1
        if mnemonic == "fail":
            return self.failing(last), -1
        body = self.call(last) if mnemonic.startswith("call") else []
        targets = self.edges(last)
        if mnemonic == "cond_br":
            return self.conditional(last, root)
        # br_table: the default comes first; the cases test for their index before it.
        for index, (target, moves) in enumerate(targets[1:]):
            test = self.equals(_register(last.operands[0])[0], index, line)
            body.append(ast.If(test, self.nested(target, moves, line, root), [], **POSITION))
        added, following = self.edge(*targets[0], line, root)
        return body + added, following

    def nested(self, target: int, moves: Moves, line: int, root: int) -> list[ast.stmt]:
        body, following = self.edge(target, moves, line, root)
        return body if following < 0 else body + self.tree(following, root)

    def conditional(self, last: Instruction, root: int) -> tuple[list[ast.stmt], int]:
        line = last.offset + 1
        condition: ast.expr = _register(last.operands[0])[0]
        inner, outer = self.edges(last)
        if self.layout.nests_false_edge(last):
            inner, outer = outer, inner
            condition = ast.UnaryOp(ast.Not(), condition, **POSITION)
        branch = ast.If(
            condition, self.nested(*inner, line, root) or [ast.Pass(**POSITION)], [], **POSITION
        )
        added, following = self.edge(*outer, line, root)
        return [branch, *added], following

    def failing(self, instruction: Instruction) -> list[ast.stmt]:
        code, message = instruction.operands
        label = f"S{self.function.ordinal}_{instruction.offset}"
        assert isinstance(message, bytes)
        self.messages[label] = message.decode("utf-8", "replace")
        operands = {"a0": _register(code), "a1": name(label)}
        return _RAISE.expand(operands, instruction.offset + 1)

    def dispatch(self, roots: Sequence[int]) -> list[ast.stmt]:
        """Chooses among roots by ``b``: a few in a row, more by halves."""
        if len(roots) > 4:
            middle = len(roots) // 2
            below: ast.expr = ast.Compare(
                load("b"), [ast.Lt()], [constant(self.layout.numbers[roots[middle]])[0]], **POSITION
            )
            first = ast.If(below, self.dispatch(roots[:middle]), [], **POSITION)
            return [first, *self.dispatch(roots[middle:])]
        body: list[ast.stmt] = []
        for root in roots[:-1]:
            test = self.equals(load("b"), self.layout.numbers[root], 1)
            body.append(ast.If(test, self.tree(root, root), [], **POSITION))
        return body + self.tree(roots[-1], roots[-1])

    def body(self) -> list[ast.stmt]:
        body: list[ast.stmt] = []
        if self.recursive:
            body += _ENTER.expand({"a0": constant(MAX_CALL_DEPTH)}, 1)
        for register, value in self.function.flow.initial:
            body.append(_assign(_register(register)[1], constant(value)[0], 1))
        roots = self.layout.roots
        if len(roots) == 1 and not self.layout.entry_is_target:
            return body + self.tree(0, 0)
        body.append(_assign(store("b"), constant(0)[0], 1))
        loop = ast.While(constant(1)[0], self.dispatch(roots), [], **POSITION)
        return [*body, loop]


def _instruction_count(function: VerifiedFunction) -> int:
    return sum(len(block.instructions) for block in function.blocks)


def generate(module: VerifiedModule, ordinal: int, *, recursive: bool) -> GeneratedFunction:
    """Compiles one function of a verified module.

    Args:
        module: The module.
        ordinal: Of the function.
        recursive: Whether it can call itself, directly or not; its depth is then counted.
    """
    function = module.functions[ordinal]
    generator = _Generator(module, function, recursive)
    shell = ast.parse("def f():\n    pass", FILE_NAME)
    definition = shell.body[0]
    assert isinstance(definition, ast.FunctionDef)
    definition.name = f"f{ordinal}"
    definition.args.args = [
        ast.arg(_register_name(register), None, **POSITION) for register in function.arguments
    ]
    definition.body = generator.body()
    compiled = compile(shell, FILE_NAME, "exec", dont_inherit=True, optimize=0)
    code = next(item for item in compiled.co_consts if isinstance(item, CodeType))
    return GeneratedFunction(code, generator.messages)


def _register_name(register: int) -> str:
    node = _register(register)[0]
    assert isinstance(node, ast.Name)
    return node.id
