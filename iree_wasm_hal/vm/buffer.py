"""``vm.buffer``: a range of host bytes with access flags.

Out-of-range accesses are found with unbounded integers; nothing here wraps at 2**64.

Spec: iree/vm/buffer.h.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.errors import LimitError
from iree_wasm_hal.status import StatusCode, invocation_error

if TYPE_CHECKING:
    from iree_wasm_hal.vm.account import MemoryAccount

__all__ = ["Buffer"]

_MAX_ALIGNMENT = 1 << 31
_FILL_CHUNK_BYTES = 1 << 16


class Buffer:
    """A ``vm.buffer``. Compared by identity, as refs are. Thread-compatible.

    Attributes:
        view: The bytes, format ``B``; read-only where ``writable`` is False.
        writable: Whether the program may write.
    """

    __slots__ = ("__weakref__", "_account", "_charged_bytes", "view", "writable")

    def __init__(self, contents: bytes | bytearray | memoryview, *, writable: bool = False) -> None:
        view = memoryview(contents)
        if view.format != "B" or view.ndim != 1:
            view = view.cast("B")
        self.writable = writable and not view.readonly
        self.view = view if self.writable else view.toreadonly()
        self._account: MemoryAccount | None = None
        self._charged_bytes = 0

    @classmethod
    def allocate(cls, byte_length: int, alignment: int, account: MemoryAccount) -> Buffer:
        """A zeroed writable buffer, charged to ``account`` until it dies.

        Args:
            byte_length: Length; a negative one is a huge unsigned one.
            alignment: A power of two, or 0. Python cannot honour more than the allocator gives;
                programs never see addresses.
            account: Pays for it.

        Raises:
            InvocationError: The alignment is no power of two.
            LimitError: The account does not allow the length, or the machine cannot give it.
        """
        if alignment & (alignment - 1) or not 0 <= alignment <= _MAX_ALIGNMENT:
            raise invocation_error(
                StatusCode.INVALID_ARGUMENT, f"alignment {alignment} is not a power of two"
            )
        length = byte_length & 0xFFFFFFFFFFFFFFFF
        account.charge(length, "vm.buffer.alloc")
        try:
            contents = bytearray(length)
        except (MemoryError, OverflowError) as cause:
            account.release(length)
            raise LimitError(
                f"vm.buffer.alloc asks for {length} bytes; the machine cannot give them",
                name="VM host memory",
                asked=length,
                allowed=account.max_bytes,
            ) from cause
        buffer = cls(contents, writable=True)
        buffer._account = account
        buffer._charged_bytes = length
        return buffer

    def __del__(self) -> None:
        account = getattr(self, "_account", None)
        if account is not None:
            account.release(self._charged_bytes)

    @property
    def byte_length(self) -> int:
        """Length in bytes."""
        return len(self.view)

    def read(self, byte_offset: int, byte_length: int) -> memoryview:
        """A view of a range.

        Raises:
            InvocationError: OUT_OF_RANGE.
        """
        if byte_offset < 0 or byte_length < 0 or byte_offset + byte_length > len(self.view):
            raise self._out_of_range(byte_offset, byte_length)
        return self.view[byte_offset : byte_offset + byte_length]

    def write(self, byte_offset: int, byte_length: int) -> memoryview:
        """A writable view of a range.

        Raises:
            InvocationError: PERMISSION_DENIED where the buffer is read-only, or OUT_OF_RANGE.
        """
        if not self.writable:
            raise invocation_error(
                StatusCode.PERMISSION_DENIED, f"vm.buffer of {len(self.view)} bytes is read-only"
            )
        return self.read(byte_offset, byte_length)

    def fill(self, byte_offset: int, pattern: bytes, count: int) -> None:
        """Writes ``pattern`` ``count`` times from ``byte_offset``.

        Raises:
            InvocationError: PERMISSION_DENIED or OUT_OF_RANGE.
        """
        target = self.write(byte_offset, count * len(pattern))
        per_chunk = _FILL_CHUNK_BYTES // len(pattern)
        chunk = pattern * min(count, per_chunk)
        for start in range(0, len(target), len(chunk) or 1):
            part = target[start : start + len(chunk)]
            part[:] = chunk[: len(part)]

    def text(self) -> str:
        """The bytes as UTF-8 text, as names and keys are passed.

        Raises:
            InvocationError: INVALID_ARGUMENT: not UTF-8.
        """
        try:
            return str(self.view, "utf-8")
        except UnicodeDecodeError as cause:
            raise invocation_error(
                StatusCode.INVALID_ARGUMENT,
                f"vm.buffer of {len(self.view)} bytes is not UTF-8: {cause}",
            ) from cause

    def _out_of_range(self, byte_offset: int, byte_length: int) -> Exception:
        return invocation_error(
            StatusCode.OUT_OF_RANGE,
            f"access at byte offset {byte_offset}, length {byte_length}, of a vm.buffer of"
            f" {len(self.view)} bytes",
        )

    def __repr__(self) -> str:
        access = "mutable" if self.writable else "read-only"
        return f"<vm.buffer of {len(self.view)} bytes, {access}>"
