"""Relinking: a kernel module as iree-compile emits it becomes a program that an engine can run.

Pure: bytes in, bytes out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..engine.contract import Feature, MemoryType

__all__ = ["RelinkedModule", "executor_module", "relink"]


@dataclass(frozen=True, slots=True)
class RelinkedModule:
    """A module that imports only ``env.memory`` and writes nothing when instantiated.

    Loading it at ``memory_base`` (aligned to ``static_data_alignment``, in a zeroed range of
    ``static_data_byte_length`` bytes): write ``data_segments``; instantiate; call
    ``iree_wasm_initialize(memory_base, stack_pointer)`` in every instance; call
    ``iree_wasm_apply_relocations()`` once, in one of them. Stacks grow down from
    ``stack_pointer`` (a multiple of 16).

    Attributes:
        wasm: The module.
        data_segments: (byte offset from the memory base, bytes), to be written once per load.
        static_data_byte_length: Bytes the module needs at its memory base.
        static_data_alignment: Alignment of the memory base in bytes, a power of two.
        table_base: First index of the kernels in the internal table; 0 is null.
        table_size: Table entries of the kernels.
        features: What the engine must be able to do.
        pointer_byte_length: 4 or 8.
        needs_stack: Whether the kernels use ``__stack_pointer``.
        export_names: What the module exports.
    """

    wasm: bytes
    data_segments: tuple[tuple[int, bytes], ...]
    static_data_byte_length: int
    static_data_alignment: int
    table_base: int
    table_size: int
    features: frozenset[Feature]
    pointer_byte_length: int
    needs_stack: bool
    export_names: tuple[str, ...]


def relink(kernel: bytes, *, memory: MemoryType, atomics: bool) -> RelinkedModule:
    """Checks a kernel module against the static profile and relinks it.

    Args:
        kernel: A wasm dynamic library (``dylink.0``), as iree-compile emits it.
        memory: Type of the memory the program will import; ``index64`` must fit the kernels.
        atomics: Whether the executor claims and waits with atomic instructions, so that several
            workers may run one submission. Waiting needs a shared memory as well.

    Raises:
        MalformedWasmError: The bytes are not a well-formed module.
        KernelProfileError: The module does something no kernel may do.
        LimitError: The module is above a size cap.
        IncompatibleTargetError: wasm64 kernels for a 32-bit memory or the other way round.
    """
    raise AssertionError("BUG: not there yet")


def executor_module(*, memory: MemoryType, atomics: bool) -> RelinkedModule:
    """The executor alone, for submissions without a dispatch.

    Its ``iree_wasm_execute`` returns SWITCH at every dispatch that has work left.
    """
    raise AssertionError("BUG: not there yet")
