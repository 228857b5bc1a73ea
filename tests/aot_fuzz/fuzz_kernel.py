"""A fuzz kernel: what a function does, as plain data that can be stored, cut down and checked.

Every instruction writes one register. A register that nothing wrote is zero, so that any
instruction may be removed and the rest is still a kernel.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fuzz_ops import ACCEPTED, OPS, UNIT

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PARAMETERS", "Call", "If", "Instruction", "InvalidKernelError", "Kernel", "Loop"]

Operand = str | int
"""A register, such as ``x12``, or a constant of type i32 or i64."""

PARAMETERS = ("p0", "p1", "q0", "q1", "r0", "r1", "i0", "i1", "l0")
"""Of every kernel: two addresses per region, two i32 (the first a loop count), and an i64."""


class InvalidKernelError(Exception):
    """Operands, types or immediates do not fit: the generator's fault."""


@dataclass(slots=True)
class Instruction:
    """``result = op(operands)``."""

    op: str
    result: str
    operands: tuple[Operand, ...]
    immediate: tuple[int, ...] = ()


@dataclass(slots=True)
class Loop:
    """Runs ``body`` ``count`` times.

    Attributes:
        counter: Its i32 register.
        count: A register, or a number above 0.
        form: ``down`` (the counter falls to 0), ``up`` (the test is at the end) or ``while``.
        body: Statements.
    """

    counter: str
    count: Operand
    form: str
    body: list[Statement] = field(default_factory=list)


@dataclass(slots=True)
class If:
    """Runs one of two bodies."""

    condition: str
    then: list[Statement] = field(default_factory=list)
    otherwise: list[Statement] = field(default_factory=list)


Statement = Instruction | Loop | If


@dataclass(frozen=True, slots=True)
class Call:
    """One call: which initial memory, and the arguments in the order of ``PARAMETERS``."""

    image: int
    arguments: tuple[int, ...]


@dataclass(slots=True)
class Kernel:
    """A function and the calls that try it.

    Attributes:
        result: The register that is returned, i32 or i64.
        body: Statements.
        calls: How to try it.
        hints: Whether accesses promise the natural alignment, which need not be true.
        note: Where it comes from.
    """

    result: str
    body: list[Statement]
    calls: list[Call]
    hints: bool = True
    note: str = ""

    def instructions(self) -> Iterator[Instruction]:
        """All instructions, depth first."""
        return _instructions(self.body)

    def check(self) -> None:
        """Raises InvalidKernelError unless every instruction's types and immediates fit."""
        for instruction in self.instructions():
            _check(instruction)

    def to_json(self) -> str:
        """The kernel as text, one statement per line."""
        lines = ",\n".join(_lines(self.body, " "))
        rest = {
            "note": self.note,
            "result": self.result,
            "hints": self.hints,
            "calls": [[call.image, list(call.arguments)] for call in self.calls],
        }
        head = json.dumps(rest)[:-1]
        return f'{head},\n "body": [\n{lines}\n ]}}\n'

    @classmethod
    def from_json(cls, text: str) -> Kernel:
        """Reads what ``to_json`` wrote."""
        document = json.loads(text)
        return cls(
            document["result"],
            [_statement(one) for one in document["body"]],
            [Call(image, tuple(arguments)) for image, arguments in document["calls"]],
            document["hints"],
            document["note"],
        )


def _instructions(body: list[Statement]) -> Iterator[Instruction]:
    for statement in body:
        if isinstance(statement, Loop):
            yield from _instructions(statement.body)
        elif isinstance(statement, If):
            yield from _instructions(statement.then)
            yield from _instructions(statement.otherwise)
        else:
            yield statement


def _check(instruction: Instruction) -> None:
    op = OPS[instruction.op]
    fits = len(instruction.operands) == len(op.operands)
    for operand, kind in zip(instruction.operands, op.operands, strict=False):
        if isinstance(operand, int):
            fits &= kind in "il"
        else:
            fits &= operand[0] == kind or operand[0] in ACCEPTED.get(kind, "")
    fits &= instruction.result[:1] == op.result
    immediate = instruction.immediate
    if op.immediate == "shuffle":
        starts = immediate[:: op.width]
        runs = [start + byte for start in starts for byte in range(op.width)]
        fits &= list(immediate) == runs and all(start % op.width == 0 for start in starts)
    elif op.immediate == "lane":
        fits &= 0 <= immediate[0] < op.width
    elif op.immediate == "memory lane":
        fits &= 0 <= immediate[1] < 16 // op.width
    elif op.immediate == "delta":
        fits &= immediate[0] % UNIT[op.result] == 0
    if op.immediate.startswith("memory"):
        fits &= 0 <= immediate[0] < 2**32 and immediate[0] % UNIT[op.operands[0]] == 0
    if not fits:
        raise InvalidKernelError(f"{instruction}: the instruction is {op}")


def _lines(body: list[Statement], indent: str) -> Iterator[str]:
    for statement in body:
        if isinstance(statement, Loop):
            inner = ",\n".join(_lines(statement.body, indent + " "))
            head = json.dumps(["loop", statement.counter, statement.count, statement.form])[:-1]
            yield f"{indent}{head}, [\n{inner}\n{indent}]]"
        elif isinstance(statement, If):
            then, otherwise = (
                ",\n".join(_lines(branch, indent + " "))
                for branch in (statement.then, statement.otherwise)
            )
            head = json.dumps(["if", statement.condition])[:-1]
            yield f"{indent}{head}, [\n{then}\n{indent}], [\n{otherwise}\n{indent}]]"
        else:
            parts: list[Any] = [statement.op, statement.result, list(statement.operands)]
            yield indent + json.dumps([*parts, *statement.immediate])


def _statement(document: list[Any]) -> Statement:
    if document[0] == "loop":
        _, counter, count, form, body = document
        return Loop(counter, count, form, [_statement(one) for one in body])
    if document[0] == "if":
        _, condition, then, otherwise = document
        return If(condition, [_statement(one) for one in then], [_statement(o) for o in otherwise])
    op, result, operands, *immediate = document
    return Instruction(op, result, tuple(operands), tuple(immediate))
