"""Options of the engine and the wasmtime configuration they make."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from iree_wasm_hal.engine import can_start_threads, check_byte_length
from iree_wasm_hal_wasmtime import forking
from iree_wasm_hal_wasmtime.c_api import OPT_LEVEL_SPEED, STRATEGY_CRANELIFT, ffi
from iree_wasm_hal_wasmtime.memory_creator import MemoryCreator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iree_wasm_hal_wasmtime.library import Library

_ENABLED = (
    "epoch_interruption",
    "wasm_threads",
    "shared_memory",
    "wasm_tail_call",
    "wasm_reference_types",
    "wasm_simd",
    "wasm_relaxed_simd",
    "wasm_bulk_memory",
    "wasm_multi_value",
    "wasm_multi_memory",
    "wasm_memory64",
    "wasm_exceptions",
)


@dataclass(frozen=True, slots=True)
class MemoryLimits:
    """What decides how much address space a memory reserves."""

    max_page_count: int
    index64: bool


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Options of ``open_engine("wasmtime", ...)``."""

    max_wasm_stack_byte_length: int = 512 * 1024
    """Native stack that wasm code may use in one call."""
    memory_reservation_byte_length: int = 4 * 1024**3
    """Address space reserved per memory. Below 4 GiB, 32-bit accesses need bounds checks. A memory
    with 64-bit addresses reserves what its maximum takes, if that is more."""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The option names."""
        return tuple(field.name for field in fields(cls))

    @classmethod
    def from_mapping(cls, options: Mapping[str, object]) -> EngineOptions:
        """Checks the values: wasmtime aborts the process on those it does not take.

        Raises:
            EngineError: A value is no int or outside of its limits.
        """
        return cls(
            **{
                name: check_byte_length("wasmtime", name, value, _LIMITS[name])
                for name, value in options.items()
            }
        )


_LIMITS = {
    # wasmtime refuses a wasm stack above its async_stack_size, 2 MiB by default.
    "max_wasm_stack_byte_length": (64 * 1024, 2 * 1024**2),
    "memory_reservation_byte_length": (64 * 1024, 2**46),
}


def compiles_in_parallel() -> bool:
    """Whether compilation may use wasmtime's own threads: in a forked child there are none."""
    return not forking.is_child() and _has_threads()


@lru_cache(maxsize=1)
def _has_threads() -> bool:
    # wasmtime starts one per processor as the first engine opens, and aborts where it gets none.
    return can_start_threads(os.cpu_count() or 1)


def new_engine_pointer(
    library: Library, options: EngineOptions, reservation_byte_length: int
) -> Any:
    """Creates a ``wasm_engine_t*`` that is deleted with the returned cffi object."""
    lib = library.lib
    config = lib.wasm_config_new()
    for name in _ENABLED:
        getattr(lib, f"wasmtime_config_{name}_set")(config, True)
    lib.wasmtime_config_parallel_compilation_set(config, compiles_in_parallel())
    # Deterministic relaxed SIMD would emulate what the CPU does not do; kernels chose relaxed.
    lib.wasmtime_config_wasm_relaxed_simd_deterministic_set(config, False)
    lib.wasmtime_config_strategy_set(config, STRATEGY_CRANELIFT)
    lib.wasmtime_config_cranelift_opt_level_set(config, OPT_LEVEL_SPEED)
    lib.wasmtime_config_max_wasm_stack_set(config, options.max_wasm_stack_byte_length)
    lib.wasmtime_config_memory_may_move_set(config, False)
    lib.wasmtime_config_memory_reservation_set(config, reservation_byte_length)
    lib.wasmtime_config_memory_init_cow_set(config, False)  # not with memories that the host makes
    creator = MemoryCreator(lib)
    lib.wasmtime_config_host_memory_creator_set(config, creator.pointer)
    # wasm_engine_new_with_config takes the config over.
    pointer = ffi.gc(lib.wasm_engine_new_with_config(config), lib.wasm_engine_delete)
    creator.set_engine(pointer)
    return pointer
