"""Cuts a kernel down while it still shows what was seen.

Removes statements, unwraps loops and conditions, makes operands constants, and tries again until
nothing more goes. Whatever is removed, the rest is a kernel: what nothing writes is zero. Only an
instruction that makes an address is replaced by a copy, so that stores stay in their region.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

from fuzz_kernel import If, Instruction, Kernel, Loop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fuzz_kernel import Statement

    Judge = Callable[[Kernel], bool]

__all__ = ["reduce_kernel"]


def reduce_kernel(kernel: Kernel, still_differs: Judge) -> Kernel:
    """The smallest kernel that was found.

    Args:
        kernel: One for which ``still_differs`` is true.
        still_differs: Whether a kernel shows the same as the first one.
    """
    best = _with_one_call(kernel, still_differs)
    size = -1
    while size != (size := _size(best)):
        best = _without_statements(best, still_differs)
        best = _unwrapped(best, still_differs)
        best = _without_copies(best, still_differs)
        best = _with_simpler_parts(best, still_differs)
    return best


def _size(kernel: Kernel) -> int:
    return len(kernel.to_json())


def _with_one_call(kernel: Kernel, still_differs: Judge) -> Kernel:
    for call in kernel.calls:
        tried = replace(kernel, calls=[call])
        if still_differs(tried):
            return tried
    return kernel


def _bodies(body: list[Statement]) -> Iterator[list[Statement]]:
    yield body
    for statement in body:
        if isinstance(statement, Loop):
            yield from _bodies(statement.body)
        elif isinstance(statement, If):
            yield from _bodies(statement.then)
            yield from _bodies(statement.otherwise)


def _places(kernel: Kernel) -> list[tuple[int, int]]:
    """All statements: number of their body, index in it."""
    return [
        (number, index)
        for number, body in enumerate(_bodies(kernel.body))
        for index in range(len(body))
    ]


def _without(kernel: Kernel, places: list[tuple[int, int]]) -> Kernel:
    tried = copy.deepcopy(kernel)
    bodies = list(_bodies(tried.body))
    for number, index in reversed(places):
        statement = bodies[number][index]
        if isinstance(statement, Instruction) and statement.result[:1] in ("p", "q", "r"):
            kind = statement.result[0]
            base = str(statement.operands[0])
            base = base if base[0] == kind else f"{kind}0"
            bodies[number][index] = Instruction(f"copy:{kind}", statement.result, (base,))
        else:
            del bodies[number][index]
    return tried


def _without_statements(kernel: Kernel, still_differs: Judge) -> Kernel:
    """Removes runs of statements, long ones first."""
    length = max(len(_places(kernel)) // 2, 1)
    while length:
        at = len(_places(kernel)) - length
        while at > -length:
            places = _places(kernel)
            tried = _without(kernel, places[max(at, 0) : max(at, 0) + length])
            if _size(tried) < _size(kernel) and still_differs(tried):
                kernel = tried
            at -= length
        length //= 2
    return kernel


def _unwrapped(kernel: Kernel, still_differs: Judge) -> Kernel:
    """Replaces loops and conditions by what is in them, loop counts by 1."""
    for number, index in reversed(_places(kernel)):
        tries: list[list[Statement]] = []
        statement = list(_bodies(kernel.body))[number][index]
        if isinstance(statement, Loop):
            tries = [statement.body]
            if statement.count != 1:
                tries.append([replace(statement, count=1, form="down")])
        elif isinstance(statement, If):
            tries = [statement.then, statement.otherwise]
        for instead in tries:
            tried = copy.deepcopy(kernel)
            body = list(_bodies(tried.body))[number]
            body[index : index + 1] = copy.deepcopy(instead)
            if still_differs(tried):
                return _unwrapped(tried, still_differs)
    return kernel


def _without_copies(kernel: Kernel, still_differs: Judge) -> Kernel:
    """Uses the original instead of each copy of an address."""
    for number, index in reversed(_places(kernel)):
        statement = list(_bodies(kernel.body))[number][index]
        if not isinstance(statement, Instruction) or not statement.op.startswith("copy:"):
            continue
        tried = copy.deepcopy(kernel)
        del list(_bodies(tried.body))[number][index]
        original = statement.operands[0]
        for instruction in tried.instructions():
            instruction.operands = tuple(
                original if one == statement.result else one for one in instruction.operands
            )
        if still_differs(tried):
            kernel = tried
    return kernel


def _with_simpler_parts(kernel: Kernel, still_differs: Judge) -> Kernel:
    for tried in _simpler_heads(kernel):
        if still_differs(tried):
            kernel = tried
    for number, index in _places(kernel):
        statement = list(_bodies(kernel.body))[number][index]
        if not isinstance(statement, Instruction):
            continue
        for simpler in _simpler(statement):
            tried = copy.deepcopy(kernel)
            list(_bodies(tried.body))[number][index] = simpler
            if still_differs(tried):
                kernel = tried
                break
    return kernel


def _simpler_heads(kernel: Kernel) -> Iterator[Kernel]:
    if kernel.result not in ("i1", "l0"):
        yield replace(kernel, result="i1")
    if kernel.hints:
        yield replace(kernel, hints=False)


def _simpler(instruction: Instruction) -> Iterator[Instruction]:
    operands = instruction.operands
    for at, operand in enumerate(operands):
        if isinstance(operand, str) and operand[0] in "il" and operand not in ("i0", "i1", "l0"):
            yield replace(instruction, operands=(*operands[:at], 1, *operands[at + 1 :]))
    if instruction.op.startswith("move:") and instruction.immediate[0] != 0:
        yield replace(instruction, immediate=(0,))
