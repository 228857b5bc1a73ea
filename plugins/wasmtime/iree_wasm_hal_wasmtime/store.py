"""A wasmtime store: where an instance lives."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from iree_wasm_hal_wasmtime.c_api import ffi
from iree_wasm_hal_wasmtime.interruption import RunningCall, on_deadline

if TYPE_CHECKING:
    from iree_wasm_hal_wasmtime.library import Library

_MANY = 2**31


class Store:
    """Owns a ``wasmtime_store_t*``, which is deleted with this object.

    wasmtime allows one thread at a time in a store: hold ``lock`` around every use of ``context``.

    Attributes:
        lib: cffi's namespace of the C library.
        context: The ``wasmtime_context_t*``, valid as long as this object.
        memory: The ``wasmtime_memory_t*`` of its unshared memory; None where that is shared.
        running: What the store is executing.
        lock: Serialises all use of the store; stores on one unshared memory have the same.
    """

    __slots__ = ("__weakref__", "_kept", "_pointer", "context", "lib", "lock", "memory", "running")

    def __init__(
        self, library: Library, engine_pointer: Any, lock: threading.Lock | None = None
    ) -> None:
        self.lib = lib = library.lib
        self.lock = threading.Lock() if lock is None else lock
        self.running = RunningCall(lib)
        self.memory: Any = None
        handle = ffi.new_handle(self.running)
        self._kept: list[object] = [handle, engine_pointer]
        store = lib.wasmtime_store_new(engine_pointer, ffi.NULL, ffi.NULL)
        self._pointer = ffi.gc(store, partial(_delete, lib, self._kept))
        self.context = lib.wasmtime_store_context(store)
        # wasmtime allows 10,000 of each in a store's life, which a long-lived memory outgrows.
        lib.wasmtime_store_limiter(store, -1, -1, _MANY, _MANY, _MANY)
        lib.wasmtime_store_epoch_deadline_callback(store, on_deadline, handle, ffi.NULL)
        lib.wasmtime_context_set_epoch_deadline(self.context, 1)

    def keep(self, *objects: object) -> None:
        """Keeps what wasmtime refers to until the store is deleted."""
        self._kept.extend(objects)


def _delete(lib: Any, _kept: list[object], pointer: Any) -> None:
    lib.wasmtime_store_delete(pointer)
