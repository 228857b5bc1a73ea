"""Cuts a program's functions into parts that are compiled by themselves, each on some core.

A part brings private copies of the functions that its own call, and those in turn, so that LLVM may
inline across the cut; only calls through a table reach another part. The cut depends on the program
alone: the machine code is the same however many threads compiled it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# Compiling costs 20 ms per KiB of wasm, and a part about 2 ms by itself. Smaller parts make larger
# code, because of the private copies.
_PART_BYTE_LENGTH = 8 * 1024
_MAX_PART_COUNT = 1024  # owners are 16 bits wide


def assign_parts(body_byte_lengths: Sequence[int]) -> list[int]:
    """The part of each function, in runs of neighbours of about equal size.

    Args:
        body_byte_lengths: Size of each function's body, in bytes of wasm.

    Returns:
        Part numbers from 0, each of which owns a function at least; empty for no functions.
    """
    total = sum(body_byte_lengths)
    part_count = min(max(1, round(total / _PART_BYTE_LENGTH)), _MAX_PART_COUNT)
    target = max(total / part_count, 1)
    owners: list[int] = []
    part = begun = 0
    for byte_length in body_byte_lengths:
        # A function goes where its middle lies; a part that is still empty takes it in any case.
        if owners and owners[-1] == part and begun + byte_length / 2 >= (part + 1) * target:
            part += 1
        owners.append(part)
        begun += byte_length
    return owners


def owned_functions(owners: Sequence[int], part: int) -> bytes:
    """One byte for each function: whether a part owns it."""
    return bytes(owner == part for owner in owners)
