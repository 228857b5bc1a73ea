"""Options of the engine."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from iree_wasm_hal.engine import check_byte_length
from iree_wasm_hal.errors import EngineError
from iree_wasm_hal_wasmer.c_api import COMPILERS

if TYPE_CHECKING:
    from collections.abc import Mapping

_MIN_STACK_BYTE_LENGTH = 64 * 1024
_MAX_STACK_BYTE_LENGTH = 64 * 1024**2


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Options of ``open_engine("wasmer", ...)``."""

    compiler: str = "cranelift"
    """``"cranelift"``, or ``"singlepass"``: compiles in one pass, to slow code, without SIMD."""
    max_wasm_stack_byte_length: int = 1024**2
    """Stack that wasm code may use in one call. It is Wasmer's own, not the calling thread's."""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The option names."""
        return tuple(field.name for field in fields(cls))

    @classmethod
    def from_mapping(cls, options: Mapping[str, object]) -> EngineOptions:
        """Checks the values.

        Raises:
            EngineError: A value has another type or is outside of its limits.
        """
        compiler = options.get("compiler", cls().compiler)
        if not isinstance(compiler, str) or compiler not in COMPILERS:
            known = " or ".join(map(repr, COMPILERS))
            msg = f"engine 'wasmer': option 'compiler' is {compiler!r}; expected {known}"
            raise EngineError(msg)
        name = "max_wasm_stack_byte_length"
        value = options.get(name, cls().max_wasm_stack_byte_length)
        limits = _MIN_STACK_BYTE_LENGTH, _MAX_STACK_BYTE_LENGTH
        return cls(compiler, check_byte_length("wasmer", name, value, limits))
