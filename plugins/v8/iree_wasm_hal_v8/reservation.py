"""The address space that linear memories may reserve, counted over all engines of the process.

V8 keeps everything that wasm can address in one region, its sandbox. When that is full, V8 gives a
new memory less address space than its maximum, and growing it may then move it, away from under
the views of Python. So memories are refused well before.
"""

from __future__ import annotations

import threading

_BUDGET_BYTE_LENGTH = 512 * 1024**3
"""Half of V8's sandbox (1 TiB on 64-bit Linux and macOS)."""


class AddressSpace:
    """Counts reservations. Thread-safe."""

    def __init__(self, budget_byte_length: int = _BUDGET_BYTE_LENGTH) -> None:
        self.budget_byte_length = budget_byte_length
        self._lock = threading.Lock()
        self._used_byte_length = 0

    def reserve(self, byte_length: int) -> bool:
        """Takes a reservation; False if it would not fit."""
        with self._lock:
            if self._used_byte_length + byte_length > self.budget_byte_length:
                return False
            self._used_byte_length += byte_length
            return True

    def release(self, byte_length: int) -> None:
        """Gives a reservation back."""
        with self._lock:
            self._used_byte_length -= byte_length
