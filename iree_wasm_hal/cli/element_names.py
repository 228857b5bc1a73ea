"""IREE's names of element types (``f32``, ``ui8``, ``bf16``) on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iree_wasm_hal.cli.reporting import UsageError
from iree_wasm_hal.errors import Error
from iree_wasm_hal.hal import elements

if TYPE_CHECKING:
    import numpy as np

__all__ = ["FLOAT_NAMES", "dtype_of"]

FLOAT_NAMES = frozenset(
    {
        *("f16", "bf16", "f32", "f64"),
        *("f8E5M2", "f8E4M3FN", "f8E5M2FNUZ", "f8E4M3FNUZ", "f8E8M0FNU"),
    }
)
"""Element types whose values are written as decimal fractions."""


def dtype_of(element_name: str) -> np.dtype[Any]:
    """The numpy type that holds elements of IREE's type ``element_name``.

    Raises:
        UsageError: The name is unknown, or its type needs a package that is not installed.
    """
    try:
        return elements.dtype_of(elements.element_type_from_name(element_name))
    except Error as error:
        raise UsageError(str(error)) from error
