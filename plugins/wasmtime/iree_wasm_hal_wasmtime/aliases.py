"""Unshared memories of several stores on the same bytes.

wasmtime frees an instance with its store and never before, and an unshared memory belongs to one
store. So that an instance can be freed while its memory lives on, each has a store of its own; the
bytes are those of a region, and wasmtime's host memory creator gives each store an alias of it: a
memory with a size of its own. ``NativeMemory.grow`` keeps the sizes the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iree_wasm_hal_wasmtime.c_api import EXTERN_MEMORY, ffi
from iree_wasm_hal_wasmtime.memory_creator import aliasing, raise_postponed
from iree_wasm_hal_wasmtime.messages import take_error_message, take_trap

if TYPE_CHECKING:
    from collections.abc import Callable

    from iree_wasm_hal.engine import MemoryType
    from iree_wasm_hal_wasmtime.store import Store

EXPORT_NAME = b"m"


class Alias:
    """What wasmtime asks about one store's memory.

    Attributes:
        base: Start of the region.
        byte_length: The memory's current size.
        capacity: What it can grow to without moving.
        grow_region: Called with this alias and a size to bring the region to that size, if it is
            smaller; gives a ``wasmtime_error_t *``, which is null if all went well.
    """

    __slots__ = ("__weakref__", "base", "byte_length", "capacity", "grow_region")

    def __init__(
        self, base: Any, byte_length: int, capacity: int, grow_region: Callable[[Alias, int], Any]
    ) -> None:
        self.base = base
        self.byte_length = byte_length
        self.capacity = capacity
        self.grow_region = grow_region

    def grow_to(self, byte_length: int) -> Any:
        """Follows the region, or takes it along where the program itself grows the memory."""
        error = self.grow_region(self, byte_length)
        if not error:
            self.byte_length = byte_length
        return error


def memory_module(memory_type: MemoryType) -> bytes:
    """A module that defines a memory of a type and exports it as ``EXPORT_NAME``."""
    flags = 1 | (4 if memory_type.index64 else 0)  # it has a maximum; its addresses have 64 bits
    limits = _leb128(memory_type.min_page_count) + _leb128(memory_type.max_page_count)
    memories = bytes([1, flags]) + limits
    exports = bytes([1, len(EXPORT_NAME)]) + EXPORT_NAME + bytes([2, 0])
    sections = [(5, memories), (7, exports)]
    return b"\0asm\1\0\0\0" + b"".join(
        bytes([number, len(content)]) + content for number, content in sections
    )


def add_alias(store: Store, module: Any, alias: Alias) -> Any:
    """Creates a store's memory on the bytes of an alias.

    Args:
        store: A new store, which keeps the alias.
        module: The ``wasmtime_module_t*`` of ``memory_module``.
        alias: The region and its current size.

    Returns:
        The ``wasmtime_memory_t*``.
    """
    lib, context = store.lib, store.context
    handle = ffi.new_handle(alias)
    store.keep(handle, alias)
    instance, trap = ffi.new("wasmtime_instance_t *"), ffi.new("wasm_trap_t **")
    with aliasing(handle):
        error = lib.wasmtime_instance_new(context, module, ffi.NULL, 0, instance, trap)
    raise_postponed()
    if error:
        raise CreationError(take_error_message(lib, error))
    if trap[0]:
        raise take_trap(lib, trap[0], "create a memory")
    extern = ffi.new("wasmtime_extern_t *")
    found = lib.wasmtime_instance_export_get(
        context, instance, EXPORT_NAME, len(EXPORT_NAME), extern
    )
    if not found or extern.kind != EXTERN_MEMORY:
        raise CreationError("a module that defines a memory exports none")
    return ffi.new("wasmtime_memory_t *", extern.of.memory)


class CreationError(Exception):
    """wasmtime could not create a memory; carries its words."""


def _leb128(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
