"""Python syntax trees from templates of ours and from integers.

``ast`` nodes without placeholders are shared between all uses: nothing changes a tree after it is
built.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["FILE_NAME", "POSITION", "Operand", "Template", "constant", "load", "name", "store"]

Operand = tuple[ast.expr, ast.expr]
"""An operand as it is read and as it is assigned."""

FILE_NAME = "<iree vm>"
"""File name of all generated code."""

_Plan = Callable[[Mapping[str, Operand], int], ast.AST]


class Template:
    """Statements with placeholders, parsed once from a constant of ours."""

    def __init__(self, source: str) -> None:
        self._plans = [_plan(statement) for statement in ast.parse(source, FILE_NAME).body]

    def expand(self, operands: Mapping[str, Operand], line: int) -> list[ast.stmt]:
        """The statements with every placeholder replaced.

        Args:
            operands: By placeholder.
            line: Line number of the new nodes; we store byte offsets there, for tracebacks.
        """
        return [plan(operands, line) for plan in self._plans]  # type: ignore[misc] # statements


def _is_placeholder(identifier: str) -> bool:
    return identifier[0] == "a" and identifier[1:].isdigit()


def _plan(node: ast.AST) -> _Plan:
    if isinstance(node, ast.Name) and _is_placeholder(node.id):
        return _placeholder(node.id, isinstance(node.ctx, ast.Store))
    fields = []
    for field, value in ast.iter_fields(node):
        if isinstance(value, ast.AST):
            plan = _plan(value)
            if not isinstance(plan, _Shared):
                fields.append((field, plan))
        elif isinstance(value, list) and value and isinstance(value[0], ast.AST):
            plans = [_plan(item) for item in value]
            if not all(isinstance(plan, _Shared) for plan in plans):
                fields.append((field, _sequence(plans)))
    return _composite(node, fields) if fields else _Shared(node)


class _Shared:
    """A part without placeholders."""

    def __init__(self, node: ast.AST) -> None:
        self.node = node

    def __call__(self, operands: Mapping[str, Operand], line: int) -> ast.AST:
        return self.node


def _placeholder(identifier: str, is_target: bool) -> _Plan:
    return lambda operands, line: operands[identifier][is_target]


def _sequence(plans: list[_Plan]) -> _Plan:
    return lambda operands, line: [plan(operands, line) for plan in plans]  # type: ignore[return-value] # a list field


def _composite(node: ast.AST, fields: list[tuple[str, _Plan]]) -> _Plan:
    cls = type(node)
    base = dict(node.__dict__)

    def build(operands: Mapping[str, Operand], line: int) -> ast.AST:
        new = cls.__new__(cls)
        values = new.__dict__
        values.update(base)
        values["lineno"] = values["end_lineno"] = line
        for field, plan in fields:
            values[field] = plan(operands, line)
        return new

    return build


POSITION: dict[str, Any] = {"lineno": 1, "col_offset": 0, "end_lineno": 1, "end_col_offset": 0}
"""Keyword arguments of nodes whose place in the bytecode does not matter."""


def load(identifier: str) -> ast.expr:
    """A name that is read."""
    return ast.Name(identifier, ast.Load(), **POSITION)


def store(identifier: str) -> ast.expr:
    """A name that is assigned."""
    return ast.Name(identifier, ast.Store(), **POSITION)


def name(identifier: str) -> Operand:
    """A name as an operand."""
    return load(identifier), store(identifier)


def constant(value: int | float | None) -> Operand:
    """A literal as an operand; it cannot be assigned."""
    node = ast.Constant(value, **POSITION)
    return node, node
