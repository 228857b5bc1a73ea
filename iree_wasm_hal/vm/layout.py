"""How the blocks of a function are laid out as structured Python.

A block with one predecessor is inlined where it is branched to. What is left, the *roots* (the
entry, joins, loop headers), becomes the arms of one ``while`` loop over a number ``b``; a function
with no joins needs no loop at all. Python cannot jump, and every other scheme that serves all
control flow ends in such a loop for some of it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iree_wasm_hal.vm.operands import edges

if TYPE_CHECKING:
    from iree_wasm_hal.vm.instructions import Block, Instruction
    from iree_wasm_hal.vm.verifier import VerifiedFunction

__all__ = ["Layout", "plan_layout"]

_MAX_NESTING = 16
"""Deeper ifs become roots of their own: Python's compiler recurses over nested statements."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A function's plan.

    Attributes:
        roots: Blocks that are arms of the loop, in bytecode order; the entry comes first.
        numbers: Their numbers, the values of ``b``.
        sizes: Instructions in each root's tree, charged when it is branched back to.
        entry_is_target: Whether anything branches to the entry.
        leaves: Inlined blocks that end the function.
    """

    roots: tuple[int, ...]
    numbers: dict[int, int]
    sizes: dict[int, int]
    entry_is_target: bool
    leaves: frozenset[int]

    def nests_false_edge(self, last: Instruction) -> bool:
        """Which edge of a ``cond_br`` goes inside the ``if``: the one that is short, if either."""
        (true_target, _), (false_target, _) = edges(last)
        return self.is_short(false_target) and not self.is_short(true_target)

    def is_short(self, block: int) -> bool:
        """Whether an edge to the block is a jump or ends the function."""
        return block in self.numbers or block in self.leaves


def plan_layout(function: VerifiedFunction) -> Layout:
    """Plans the reachable blocks of a function."""
    blocks = function.blocks
    successors = {
        index: [target for target, _ in edges(blocks[index].instructions[-1])]
        for index in function.flow.reachable
    }
    arrivals = Counter(target for targets in successors.values() for target in targets)
    roots = {0} | {block for block, count in arrivals.items() if count > 1}
    leaves = frozenset(
        block for block, targets in successors.items() if not targets and block not in roots
    )
    layout = _number(roots, leaves, arrivals)
    roots |= _too_deep(layout, blocks)
    layout = _number(roots, leaves - roots, arrivals)
    for root in layout.roots:
        layout.sizes[root] = _tree_size(layout, blocks, successors, root)
    return layout


def _number(roots: set[int], leaves: frozenset[int], arrivals: Counter[int]) -> Layout:
    ordered = tuple(sorted(roots))
    numbers = {block: number for number, block in enumerate(ordered)}
    return Layout(ordered, numbers, {}, arrivals[0] > 0, leaves)


def _too_deep(layout: Layout, blocks: tuple[Block, ...]) -> set[int]:
    """Blocks at which nesting has to start anew."""
    cut: set[int] = set()
    pending = [(root, 0) for root in layout.roots]
    while pending:
        block, depth = pending.pop()
        last = blocks[block].instructions[-1]
        targets = [target for target, _ in edges(last)]
        flat = 0
        if last.opcode.mnemonic == "cond_br":
            flat = 0 if layout.nests_false_edge(last) else 1
        for position, target in enumerate(targets):
            if target in layout.numbers:
                continue
            target_depth = depth if position == flat else depth + 1
            if target_depth > _MAX_NESTING:
                cut.add(target)
                target_depth = 0
            pending.append((target, target_depth))
    return cut


def _tree_size(
    layout: Layout, blocks: tuple[Block, ...], successors: dict[int, list[int]], root: int
) -> int:
    size = 0
    pending = [root]
    while pending:
        block = pending.pop()
        size += len(blocks[block].instructions)
        pending += [target for target in successors[block] if target not in layout.numbers]
    return size
