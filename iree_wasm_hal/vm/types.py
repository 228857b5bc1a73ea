"""The VM's own ref types, and how type names of a module become Python classes.

Integers are signed Python ints, floats Python floats (f32 rounded), refs Python objects or None.
A ref's type is the Python class registered under its full name; a subclass counts as the type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.errors import ImportResolutionError
from iree_wasm_hal.vm.buffer import Buffer
from iree_wasm_hal.vm.list import ElementType, List

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BUILTIN_TYPES", "VALUE_TYPE_NAMES", "Buffer", "List", "resolve_type"]

BUILTIN_TYPES: Mapping[str, type] = {"vm.buffer": Buffer, "vm.list": List}
"""Ref types that every context knows."""

VALUE_TYPE_NAMES = ("i8", "i16", "i32", "i64", "f32", "f64")
"""Names of value types in a module's type table."""


def resolve_type(full_name: str, ref_types: Mapping[str, type]) -> ElementType:
    """The class, value type name or None (any type) that a type table entry stands for.

    Args:
        full_name: As in the type table: ``"i32"``, ``"!hal.buffer"``, ``"!vm.list<i32>"``.
        ref_types: Classes by full name without ``!``, builtin ones included.

    Raises:
        ImportResolutionError: No module registers the type.
    """
    if full_name in VALUE_TYPE_NAMES:
        return full_name
    if full_name == "!vm.opaque":
        return None
    if full_name.startswith("!"):
        name = full_name[1:]
        # Element types of lists are not checked: IREE lets list types be widened.
        cls = ref_types.get("vm.list" if name.startswith("vm.list") else name)
        if cls is not None:
            return cls
    known = ", ".join(sorted(ref_types))
    raise ImportResolutionError(
        f"no module registers the type {full_name!r}; registered ref types are {known}"
    )
