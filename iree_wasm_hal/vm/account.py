"""Host memory that a program makes the VM allocate, charged before it is allocated."""

from __future__ import annotations

import threading

from iree_wasm_hal.errors import LimitError

__all__ = ["DEFAULT_MAX_BYTES", "MemoryAccount"]

DEFAULT_MAX_BYTES = 1 << 30
"""Default limit of one context, 1 GiB: host buffers and lists of real models stay below 1 MiB."""


class MemoryAccount:
    """Counts the bytes a context's buffers, lists and globals hold. Thread-safe."""

    __slots__ = ("_lock", "max_bytes", "used_bytes")

    def __init__(self, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self.used_bytes = 0
        # Reentrant: a finalizer may release while this thread holds the lock.
        self._lock = threading.RLock()

    def charge(self, byte_length: int, what: str) -> None:
        """Takes ``byte_length`` bytes, to be called before allocating them.

        Raises:
            LimitError: That would exceed the limit; nothing is charged.
        """
        with self._lock:
            if byte_length > self.max_bytes - self.used_bytes:
                raise LimitError(
                    f"{what} asks for {byte_length} bytes of host memory; {self.used_bytes} of"
                    f" {self.max_bytes} are used. Raise the context's max_host_bytes if the"
                    " program is trusted.",
                    name="VM host memory",
                    asked=byte_length,
                    allowed=self.max_bytes,
                )
            self.used_bytes += byte_length

    def release(self, byte_length: int) -> None:
        """Gives bytes back."""
        with self._lock:
            self.used_bytes -= byte_length
