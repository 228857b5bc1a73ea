"""What is measured: a group pairs one case with the plain case that does the same work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "F32",
    "F64",
    "I8",
    "I16",
    "I32",
    "I64",
    "U8",
    "U16",
    "U32",
    "Array",
    "Case",
    "Group",
    "Reference",
    "on",
]

Array = npt.NDArray[Any]
Reference = Callable[[Array, Array, Array, Array], Array]
"""One step in numpy: state, operands y and z, memory at the step's address; all in bytes."""

I8, I16, I32, I64 = (np.dtype(f"<i{width}") for width in (1, 2, 4, 8))
U8, U16, U32 = (np.dtype(f"<u{width}") for width in (1, 2, 4))
F32, F64 = np.dtype("<f4"), np.dtype("<f8")


@dataclass(frozen=True, slots=True)
class Case:
    """One way to do a piece of work, as a step that is repeated on several independent states.

    Steps are in the WebAssembly text format. ``{v}`` is the state, ``{y}`` and ``{z}`` are operands
    that come from memory, ``{t}`` is the name of a temporary, ``{p}`` an address that changes with
    every round and ``{o}`` an offset that changes with every step. A step depends on the step
    before it, so that no compiler can move it out of the loop.
    """

    words: str
    """What the step is made of, for readers."""
    step: str
    """The new state."""
    reference: Reference
    """The same in numpy."""
    kind: str = "v128"
    """Type of the state."""
    lanes: int = 1
    """Work of one step, in the unit of the group."""
    total: str = ""
    """An i32 that is summed up beside the state."""
    total_reference: Reference | None = None
    """The same in numpy, per state."""
    store: str = ""
    """A statement that writes to memory; its reference writes to the memory it is given."""


@dataclass(frozen=True, slots=True)
class Group:
    """An instruction, or a few of one kind, beside its plain equivalent."""

    name: str
    case: Case
    plain: Case
    v: Array
    """Initial states, cut to the size that a case needs."""
    y: Array
    z: Array = field(default_factory=lambda: np.zeros(4, I32))
    matmul: str = ""
    """What a matrix product uses it for; empty if for nothing."""


def on(dtype: np.dtype[Any], function: Callable[..., Array]) -> Reference:
    """A reference that sees state, operands and memory as arrays of ``dtype``."""

    def reference(v: Array, y: Array, z: Array, m: Array) -> Array:
        result = np.asarray(function(v.view(dtype), y.view(dtype), z.view(dtype), m.view(dtype)))
        return np.ascontiguousarray(result).view(np.uint8)

    return reference
