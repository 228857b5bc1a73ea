"""Options of the engine."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from iree_wasm_hal.engine import check_byte_length

if TYPE_CHECKING:
    from collections.abc import Mapping

_LIMITS = {"max_wasm_stack_byte_length": (16 * 1024, 1024**3)}


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Options of ``open_engine("wamr", ...)``."""

    max_wasm_stack_byte_length: int = 512 * 1024
    """Stack for wasm functions, which WAMR allocates with each instance."""

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
                name: check_byte_length("wamr", name, value, _LIMITS[name])
                for name, value in options.items()
            }
        )
