"""Linear memories whose base never moves.

JavaScriptCore gives a memory one of two forms. In the first, 4 GiB and a red zone are reserved,
signals catch what lies beyond the current size, and growth happens in place. In the second, taken
when no reservation is to be had, an unshared memory that grows is copied elsewhere. Nothing in the
API tells which it is, so we look at the process's mappings and refuse the second.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iree_wasm_hal.engine import (
    PAGE_SIZE,
    MemoryType,
    check_growth,
    check_memory_limits,
    growth_error,
    memory_error,
)
from iree_wasm_hal.errors import ClosedError, EngineError, InternalError, LimitError
from iree_wasm_hal_jsc.c_api import ffi
from iree_wasm_hal_jsc.virtual_machine import Entry, OperationError, Table

if TYPE_CHECKING:
    from iree_wasm_hal_jsc.virtual_machine import VirtualMachine

_MAX_PAGE_COUNT = 65536
_MAPPINGS = Path("/proc/self/maps")
_RESERVATION_BYTE_LENGTH = 2**32
_NO_RESERVATION = (
    "JavaScriptCore found no 4 GiB of address space to reserve for it, and without them it would "
    "move when it grows. About 15 memories at a time have room in JavaScriptCore's cage; start the "
    "process with GIGACAGE_ENABLED=0 to do without the cage, or raise its limit of address space"
)


class NativeMemory(Entry):
    """A ``WebAssembly.Memory``.

    Attributes:
        base: Its first byte, as ``uint8_t *``.
    """

    __slots__ = ("_page_count", "base")

    def __init__(self, machine: VirtualMachine, entry_id: int, page_count: int) -> None:
        super().__init__(machine, Table.MEMORIES, entry_id)
        self._page_count = page_count
        self.base = _locate(machine, entry_id)

    def page_count(self) -> int:
        """Current size; during a call, the size before it (kernels do not grow memories)."""
        if self.machine.lock.acquire(blocking=False):
            try:
                self._page_count = self.machine.run("pageCount", self.entry_id)
            finally:
                self.machine.lock.release()
            self.machine.finish()
        return self._page_count

    def grow(self, delta_page_count: int) -> str | None:
        """Grows; says why if it could not."""
        with self.machine.entered():
            page_count = self.machine.run("pageCount", self.entry_id)
            reason = _make_accessible(self.base, page_count, delta_page_count)
            if reason is not None:
                return reason
            try:
                self.machine.run("grow", self.entry_id, delta_page_count)
            except OperationError as error:
                return error.message
            base = _locate(self.machine, self.entry_id)
            self._page_count = self.machine.run("pageCount", self.entry_id)
        if base != self.base:
            msg = f"linear memory moved from {self.base} to {base} although it was reserved"
            raise InternalError(msg)
        return None


class JscMemory:
    """Implements ``iree_wasm_hal.engine.Memory``.

    Attributes:
        machine: The machine it lives in.
    """

    def __init__(self, memory_type: MemoryType, native: NativeMemory) -> None:
        self.machine = native.machine
        self._type = memory_type
        self._native: NativeMemory | None = native

    @property
    def type(self) -> MemoryType:
        """The type it was created with."""
        return self._type

    @property
    def page_count(self) -> int:
        """Current size in pages."""
        return self.native().page_count()

    @property
    def growth_waits(self) -> bool:
        """True: a virtual machine runs one thing at a time."""
        return True

    def grow(self, delta_page_count: int) -> None:
        """Grows; waits for a call that runs in this engine."""
        native = self.native()
        page_count = native.page_count()
        check_growth(self._type, page_count, delta_page_count)
        reason = native.grow(delta_page_count)
        if reason is not None:
            allowed = self._type.max_page_count
            raise growth_error(page_count, delta_page_count, allowed, reason)

    def view(self) -> memoryview:
        """A writable view of the current size that keeps the native memory alive."""
        native = self.native()

        def keep_alive(_pointer: object, _native: NativeMemory = native) -> None:
            """Holds the native memory for as long as cffi holds this destructor."""

        pointer = ffi.gc(native.base, keep_alive)
        return memoryview(ffi.buffer(pointer, native.page_count() * PAGE_SIZE)).cast("B")

    def close(self) -> None:
        """Gives the memory up; views and instances keep what they need."""
        self._native = None

    def native(self) -> NativeMemory:
        """The native memory, for this plugin's own use."""
        native = self._native
        if native is None:
            msg = "linear memory is closed"
            raise ClosedError(msg)
        return native


def create_memory(machine: VirtualMachine, memory_type: MemoryType) -> JscMemory:
    """Creates a memory.

    Raises:
        EngineError: The limits make no valid type, or it has 64-bit addresses.
        LimitError: The machine cannot give it.
    """
    if memory_type.index64:
        msg = f"engine 'jsc' cannot create {memory_type}: it has no 64-bit memories"
        raise EngineError(msg)
    check_memory_limits(memory_type, _MAX_PAGE_COUNT)
    return JscMemory(memory_type, _new_native(machine, memory_type))


def _locate(machine: VirtualMachine, entry_id: int) -> Any:
    """Where a memory's bytes are, as ``uint8_t *``; hold the machine's lock."""
    return ffi.cast("uint8_t *", machine.run("locate", entry_id))


def _make_accessible(base: Any, page_count: int, delta_page_count: int) -> str | None:
    """Does what the engine will do in order to grow a memory; the system's words if it cannot.

    JavaScriptCore ends the process when the system does not give it the pages (tried: 2.50.6).
    """
    if not delta_page_count:
        return None
    start = int(ffi.cast("uintptr_t", base)) + page_count * PAGE_SIZE
    access = mmap.PROT_READ | mmap.PROT_WRITE
    system = ctypes.CDLL(None, use_errno=True)
    failed = system.mprotect(
        ctypes.c_void_p(start), ctypes.c_size_t(delta_page_count * PAGE_SIZE), access
    )
    return os.strerror(ctypes.get_errno()) if failed else None


def _new_native(machine: VirtualMachine, memory_type: MemoryType) -> NativeMemory:
    minimum, maximum = memory_type.min_page_count, memory_type.max_page_count
    what = f"cannot create {memory_type}"
    with machine.entered():
        try:
            entry_id = machine.run("createMemory", minimum, maximum, memory_type.shared)
        except OperationError as error:
            raise memory_error(what, minimum, 0, error.message) from error
        native = NativeMemory(machine, entry_id, minimum)
    may_move = minimum < maximum and not memory_type.shared
    if may_move and not _is_reserved(native.base, memory_type):
        msg = f"{what}: {_NO_RESERVATION}"
        raise LimitError(msg, name="address space", asked=_RESERVATION_BYTE_LENGTH, allowed=0)
    return native


def _is_reserved(base: Any, memory_type: MemoryType) -> bool:
    """Whether inaccessible addresses follow the memory as far as it may grow."""
    start = int(ffi.cast("uintptr_t", base)) + memory_type.min_page_count * PAGE_SIZE
    for line in _MAPPINGS.read_text().splitlines():
        addresses, access = line.split()[:2]
        low, high = (int(address, 16) for address in addresses.split("-"))
        if low <= start < high:
            end = int(ffi.cast("uintptr_t", base)) + memory_type.max_page_count * PAGE_SIZE
            return access.startswith("---") and high >= end
    return False
