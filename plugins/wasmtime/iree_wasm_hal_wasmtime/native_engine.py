"""The native engines behind one engine: one for each size of the memories' reservations.

wasmtime compiles a program for a size of address space that every memory reserves, and such a
memory cannot grow beyond it. 4 GiB are all that 32-bit addresses reach. A memory with 64-bit
addresses that may become larger gets an engine with a reservation that holds its maximum, rounded
up to a power of two, and so do the programs that import such a memory.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from iree_wasm_hal.engine import PAGE_SIZE
from iree_wasm_hal.errors import ClosedError, EngineError
from iree_wasm_hal_wasmtime.config import new_engine_pointer
from iree_wasm_hal_wasmtime.interruption import Ticker

if TYPE_CHECKING:
    from iree_wasm_hal_wasmtime.config import EngineOptions, MemoryLimits
    from iree_wasm_hal_wasmtime.library import Library

LARGEST_RESERVATION_BYTE_LENGTH = 2**44
"""16 TiB: an eighth of what a process can address."""
_LEAST_INDEX64_BYTE_LENGTH = 2**32


class NativeEngine:
    """A ``wasm_engine_t*``.

    Attributes:
        family: Identity of the ``NativeEngines`` that it belongs to.
        pointer: The ``wasm_engine_t*``.
        reservation_byte_length: Of its memories.
        ticker: Ends its running calls.
    """

    __slots__ = ("family", "pointer", "reservation_byte_length", "ticker")

    def __init__(
        self, family: object, library: Library, options: EngineOptions, reservation: int
    ) -> None:
        self.family = family
        self.reservation_byte_length = reservation
        self.pointer: Any = new_engine_pointer(library, options, reservation)
        self.ticker = Ticker(library, self.pointer)


class NativeEngines:
    """Creates the native engines as they are needed. Thread-safe.

    Attributes:
        library: The C library.
        options: The engine's.
    """

    def __init__(self, library: Library, options: EngineOptions) -> None:
        self.library = library
        self.options = options
        self._family = object()
        self._lock = threading.Lock()
        self._engines: dict[int, NativeEngine] = {}
        self._is_closed = False
        self.default()

    def default(self) -> NativeEngine:
        """The one with the reservation of the options."""
        return self.with_reservation(self.options.memory_reservation_byte_length)

    def for_memory(self, limits: MemoryLimits | None) -> NativeEngine:
        """The one for a memory, or for a program that imports it.

        A maximum that nobody can reserve is no maximum: a program that allows it takes any memory.
        """
        if limits is None or not limits.index64:
            return self.default()
        needed = limits.max_page_count * PAGE_SIZE
        if needed > LARGEST_RESERVATION_BYTE_LENGTH:
            needed = 0
        least = max(self.options.memory_reservation_byte_length, _LEAST_INDEX64_BYTE_LENGTH)
        return self.with_reservation(least if needed <= least else 1 << (needed - 1).bit_length())

    def with_reservation(self, reservation_byte_length: int) -> NativeEngine:
        """The one with a certain reservation.

        Raises:
            ClosedError: The engine is closed.
            EngineError: No engine has such a reservation.
        """
        smallest = self.options.memory_reservation_byte_length
        if reservation_byte_length != smallest and not (
            smallest < reservation_byte_length <= LARGEST_RESERVATION_BYTE_LENGTH
            and reservation_byte_length.bit_count() == 1
        ):
            raise EngineError(f"no reservation of {reservation_byte_length} bytes is in use")
        with self._lock:
            if self._is_closed:
                raise ClosedError("engine 'wasmtime' is closed")
            engine = self._engines.get(reservation_byte_length)
            if engine is None:
                engine = NativeEngine(
                    self._family, self.library, self.options, reservation_byte_length
                )
                self._engines[reservation_byte_length] = engine
            return engine

    def close(self) -> None:
        """Gives them up; wasmtime counts the references that others hold."""
        with self._lock:
            self._is_closed = True
            self._engines.clear()
