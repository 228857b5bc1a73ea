"""What all engines of the process share and V8 does not survive the lack of: counted beforehand."""

from __future__ import annotations

import threading

MEMORY_BYTE_LENGTH = 512 * 1024**3
"""Address space that linear memories may reserve: half of V8's sandbox (1 TiB), in which it keeps
all that wasm can address. When the sandbox is full, V8 gives a new memory less address space than
its maximum, and growing that may move it, away from under the views of Python."""

ISOLATE_COUNT = 1000
"""Isolates at one time. Each is a thread with some 20 mappings; V8 ends the process when it gets no
further one, at about 3300 with Linux's default of 65530 mappings."""


class Budget:
    """Counts what is taken of a limited good. Thread-safe."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._lock = threading.Lock()
        self._taken = 0

    def take(self, amount: int) -> bool:
        """Takes an amount; False if that much is not left."""
        with self._lock:
            if self._taken + amount > self.total:
                return False
            self._taken += amount
            return True

    def give_back(self, amount: int) -> None:
        """Gives an amount back."""
        with self._lock:
            self._taken -= amount
