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
from types import CodeType
from typing import TYPE_CHECKING

from iree_wasm_hal.vm.emitter import (
    Emitter,
    assign,
    charge,
    equals,
    move_statements,
    register_operand,
)
from iree_wasm_hal.vm.layout import Layout, plan_layout
from iree_wasm_hal.vm.operands import edges
from iree_wasm_hal.vm.syntax import (
    FILE_NAME,
    POSITION,
    Template,
    constant,
    load,
    name,
    store,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from iree_wasm_hal.vm.instructions import Instruction, Moves
    from iree_wasm_hal.vm.verifier import VerifiedFunction, VerifiedModule

__all__ = ["MAX_CALL_DEPTH", "GeneratedFunction", "generate"]

MAX_CALL_DEPTH = 1024
"""Frames of recursive functions in one call."""

_ENTER = Template("D[0] += 1\nif D[0] > a0:\n    _too_deep()")
_LEAVE = Template("D[0] -= 1")
_JUMP = Template("b = a0")
_RAISE = Template("raise _fail(a0, a1)")


@dataclass(frozen=True, slots=True)
class GeneratedFunction:
    """Compiled code of a function and the messages it names.

    Attributes:
        code: Code object; becomes a function with a namespace as its globals.
        messages: ``S``-names to fail messages.
    """

    code: CodeType
    messages: Mapping[str, str]


class _FunctionWriter:
    """Writes the control flow of one function."""

    def __init__(self, module: VerifiedModule, function: VerifiedFunction, recursive: bool) -> None:
        self.function = function
        self.recursive = recursive
        self.messages: dict[str, str] = {}
        self.emitter = Emitter(module)
        self.layout: Layout = plan_layout(function)

    def leave(self, instruction: Instruction) -> list[ast.stmt]:
        """None, a value, or a tuple of values."""
        registers: tuple[int, ...] = instruction.operands[0]
        line = instruction.offset + 1
        values = [register_operand(register)[0] for register in registers]
        result: ast.expr = ast.Tuple(values, ast.Load(), **POSITION)
        if len(values) < 2:
            result = values[0] if values else constant(None)[0]
        body = _LEAVE.expand({}, line) if self.recursive else []
        return [*body, ast.Return(result, **POSITION)]

    def edges(self, last: Instruction) -> list[tuple[int, Moves]]:
        """Successors with the moves that type flow left: 64-bit values move as one."""
        return [
            (target, self.function.flow.moves[last.offset, index])
            for index, (target, _) in enumerate(edges(last))
        ]

    def edge(self, block: int, moves: Moves, line: int, root: int) -> tuple[list[ast.stmt], int]:
        """Statements that follow an edge; the block to go on with, or -1 after a jump."""
        body = move_statements(moves, line)
        number = self.layout.numbers.get(block)
        if number is None:
            return body, block
        if number <= self.layout.numbers[root]:
            body += charge(self.layout.sizes[root], line)
        body += _JUMP.expand({"a0": constant(number)}, line)
        return [*body, ast.Continue(**POSITION)], -1

    def tree(self, start: int, root: int) -> list[ast.stmt]:
        """A block and the blocks inlined after it; control never runs off its end."""
        body: list[ast.stmt] = []
        block = start
        while block >= 0:
            *straight, last = self.function.blocks[block].instructions
            for instruction in straight:
                body += self.emitter.instruction(instruction)
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
        body = self.emitter.call(last) if mnemonic.startswith("call") else []
        targets = self.edges(last)
        if mnemonic == "cond_br":
            return self.conditional(last, root)
        # br_table: the default comes first; the cases test for their index before it.
        for index, (target, moves) in enumerate(targets[1:]):
            test = equals(register_operand(last.operands[0])[0], index, line)
            body.append(ast.If(test, self.nested(target, moves, line, root), [], **POSITION))
        added, following = self.edge(*targets[0], line, root)
        return body + added, following

    def nested(self, target: int, moves: Moves, line: int, root: int) -> list[ast.stmt]:
        body, following = self.edge(target, moves, line, root)
        return body if following < 0 else body + self.tree(following, root)

    def conditional(self, last: Instruction, root: int) -> tuple[list[ast.stmt], int]:
        line = last.offset + 1
        condition: ast.expr = register_operand(last.operands[0])[0]
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
        operands = {"a0": register_operand(code), "a1": name(label)}
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
            test = equals(load("b"), self.layout.numbers[root], 1)
            body.append(ast.If(test, self.tree(root, root), [], **POSITION))
        return body + self.tree(roots[-1], roots[-1])

    def body(self) -> list[ast.stmt]:
        body: list[ast.stmt] = []
        if self.recursive:
            body += _ENTER.expand({"a0": constant(MAX_CALL_DEPTH)}, 1)
        for register, value in self.function.flow.initial:
            body.append(assign(register_operand(register)[1], constant(value)[0], 1))
        roots = self.layout.roots
        if len(roots) == 1 and not self.layout.entry_is_target:
            return body + self.tree(0, 0)
        body.append(assign(store("b"), constant(0)[0], 1))
        loop = ast.While(constant(1)[0], self.dispatch(roots), [], **POSITION)
        return [*body, loop]


def generate(module: VerifiedModule, ordinal: int, *, recursive: bool) -> GeneratedFunction:
    """Compiles one function of a verified module.

    Args:
        module: The module.
        ordinal: Of the function.
        recursive: Whether it can call itself, directly or not; its depth is then counted.
    """
    function = module.functions[ordinal]
    generator = _FunctionWriter(module, function, recursive)
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
    node = register_operand(register)[0]
    assert isinstance(node, ast.Name)
    return node.id
