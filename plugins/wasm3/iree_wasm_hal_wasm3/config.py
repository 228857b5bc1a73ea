"""Options of the engine."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from iree_wasm_hal.engine import check_byte_length

if TYPE_CHECKING:
    from collections.abc import Mapping

_LIMITS = {
    "max_native_stack_byte_length": (64 * 1024, 2**30),
    "max_value_stack_byte_length": (4096, 2**30),
}


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Options of ``open_engine("wasm3", ...)``."""

    max_native_stack_byte_length: int = 1024**2
    """Native stack that wasm code may use in one call."""
    max_value_stack_byte_length: int = 256 * 1024
    """wasm3's own stack of values, one per instance. It is cut further where calls could use up
    the native stack first (``native_stack.py``)."""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The option names."""
        return tuple(field.name for field in fields(cls))

    @classmethod
    def from_mapping(cls, options: Mapping[str, object]) -> EngineOptions:
        """Checks the values.

        Raises:
            EngineError: A value is no int or outside of its limits.
        """
        return cls(
            **{
                name: check_byte_length("wasm3", name, value, _LIMITS[name])
                for name, value in options.items()
            }
        )
