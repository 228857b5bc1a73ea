"""What the executor's code depends on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from iree_wasm_hal.wasm.expressions import ValueType

__all__ = ["ExecutorOptions"]


@dataclass(frozen=True, slots=True)
class ExecutorOptions:
    """What the emitted code depends on.

    Attributes:
        pointer: Type of addresses.
        atomics: Whether several workers may run a submission.
        can_wait: Whether the memory is shared, so that workers can sleep.
        table_index64: Whether the function table is indexed with i64.
        kernel_type_index: Index of the type of kernels; None where the module has none.
    """

    pointer: ValueType
    atomics: bool
    can_wait: bool
    table_index64: bool
    kernel_type_index: int | None
