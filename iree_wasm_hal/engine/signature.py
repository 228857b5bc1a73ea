"""The type of a function that can be called from Python."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Signature"]


@dataclass(frozen=True, slots=True)
class Signature:
    """An exported function of integers and at most one result.

    Attributes:
        name: Export name.
        parameter_bits: 32 or 64 for each parameter.
        result_bits: 32, 64 or None.
    """

    name: str
    parameter_bits: tuple[int, ...]
    result_bits: int | None
