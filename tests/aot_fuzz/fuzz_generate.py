"""The kernel of a seed."""

from __future__ import annotations

import random

from fuzz_builder import Builder
from fuzz_group import add_group
from fuzz_kernel import Call, Kernel
from fuzz_memory import IMAGE_COUNT, random_arguments
from fuzz_parts import add_soup, add_tail, add_transposition

__all__ = ["generate", "is_relaxed"]

_PARTS = (add_group, add_soup, add_transposition, add_tail)
_WEIGHTS = (14, 3, 2, 1)
_CALL_COUNT = 3
# Neighbours of several parts may be as many; more only take long to compile.
_ENOUGH_INSTRUCTIONS = 250


def generate(seed: int) -> Kernel:
    """A kernel that depends on the seed alone."""
    source = random.Random(seed)
    builder = Builder(source, relaxed=is_relaxed(seed))
    for _ in range(source.choice((1, 1, 1, 2, 2, 3))):
        source.choices(_PARTS, _WEIGHTS)[0](builder)
        if builder.size > _ENOUGH_INSTRUCTIONS:
            break
    result = _result(builder)
    calls = [
        Call(source.randrange(IMAGE_COUNT), random_arguments(source)) for _ in range(_CALL_COUNT)
    ]
    return Kernel(result, builder.body, calls, source.random() < 0.7, f"seed {seed}")


def is_relaxed(seed: int) -> bool:
    """Whether the seed's kernel has multiplications and additions of relaxed SIMD."""
    return seed // 50 % 8 == 7


def _result(builder: Builder) -> str:
    """An i32 or i64 that depends on a few values."""
    source = builder.source
    chosen = source.sample(builder.pool, min(len(builder.pool), source.choice((1, 1, 2, 4))))
    total = builder.fold(chosen[0])
    for register in chosen[1:]:
        total = builder.emit("i64.add", (total, builder.fold(register)))
    return total if source.random() < 0.5 else builder.emit("i32.wrap_i64", (total,))
