"""HAL files: what queue reads come from and queue writes go to.

Spec: runtime/src/iree/hal/file.h.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from iree_wasm_hal.errors import ClosedError
from iree_wasm_hal.hal.buffer import MemoryAccess
from iree_wasm_hal.status import StatusCode, invocation_error

if TYPE_CHECKING:
    from typing_extensions import Buffer as BytesLike

__all__ = ["File"]


class File:
    """Host memory or a range of an open file descriptor; one copy from there to linear memory.

    Made by ``from_memory`` or ``from_fd``. Thread-safe except ``close``.

    Attributes:
        byte_length: Length of the file or range.
        access: Bits of ``MemoryAccess``.
    """

    __slots__ = ("_byte_offset", "_fd", "_memory", "access", "byte_length")

    def __init__(
        self,
        memory: memoryview | None,
        fd: int,
        byte_offset: int,
        byte_length: int,
        access: int,
    ) -> None:
        self._memory = memory
        self._fd = fd
        self._byte_offset = byte_offset
        self.byte_length = byte_length
        self.access = access

    @classmethod
    def from_memory(cls, data: BytesLike, access: int = MemoryAccess.READ) -> File:
        """A file over host memory, which it keeps alive.

        Args:
            data: Any contiguous buffer; bytes, a memoryview on an ``mmap``, an array.
            access: Write access needs a writable buffer.

        Raises:
            InvocationError: PERMISSION_DENIED, write access to read-only memory.
        """
        view = memoryview(data).cast("B")
        if view.readonly and access & MemoryAccess.WRITE:
            raise invocation_error(
                StatusCode.PERMISSION_DENIED, "a file for writing over read-only host memory"
            )
        return cls(view, -1, 0, len(view), access)

    @classmethod
    def from_fd(
        cls,
        fd: int,
        byte_offset: int = 0,
        byte_length: int | None = None,
        access: int = MemoryAccess.READ,
    ) -> File:
        """A file over a range of an open descriptor, which stays the caller's to close.

        Args:
            fd: Of a seekable file; duplicated, so the caller may close it at any time.
            byte_offset: Start of the range.
            byte_length: Length of the range; to the end of the file by default.
            access: Bits of ``MemoryAccess``.

        Raises:
            InvocationError: OUT_OF_RANGE, the range ends past the end of a file to read.
        """
        file_length = os.fstat(fd).st_size
        length = file_length - byte_offset if byte_length is None else byte_length
        if byte_offset < 0 or length < 0 or byte_offset + length > file_length:
            raise invocation_error(
                StatusCode.OUT_OF_RANGE,
                f"range of {length} bytes at offset {byte_offset} is outside a file of "
                f"{file_length} bytes",
            )
        return cls(None, os.dup(fd), byte_offset, length, access)

    def read_into(self, byte_offset: int, target: memoryview) -> None:
        """Fills ``target`` with the bytes at ``byte_offset``.

        Raises:
            InvocationError: OUT_OF_RANGE; PERMISSION_DENIED without read access; DATA_LOSS if
                the file got shorter since.
            ClosedError: After ``close``.
        """
        self._check(byte_offset, len(target), MemoryAccess.READ)
        if self._memory is not None:
            target[:] = self._memory[byte_offset : byte_offset + len(target)]
            return
        done = 0
        while done < len(target):
            position = self._byte_offset + byte_offset + done
            count = os.preadv(self._fd, [target[done:]], position)
            if count == 0:
                raise invocation_error(
                    StatusCode.DATA_LOSS, f"the file ends at byte {position} since it was opened"
                )
            done += count

    def write_from(self, byte_offset: int, source: memoryview) -> None:
        """Writes ``source`` at ``byte_offset``. Raises as ``read_into`` does."""
        self._check(byte_offset, len(source), MemoryAccess.WRITE)
        if self._memory is not None:
            self._memory[byte_offset : byte_offset + len(source)] = source
            return
        done = 0
        while done < len(source):
            position = self._byte_offset + byte_offset + done
            done += os.pwritev(self._fd, [source[done:]], position)

    def close(self) -> None:
        """Closes the descriptor or lets the memory go. Idempotent."""
        self._memory = None
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()

    def _check(self, byte_offset: int, byte_length: int, access: int) -> None:
        if self._memory is None and self._fd < 0:
            raise ClosedError("use of a hal.file after its close()")
        if not self.access & access:
            word = "reading" if access == MemoryAccess.READ else "writing"
            raise invocation_error(
                StatusCode.PERMISSION_DENIED, f"the file was not opened for {word}"
            )
        if byte_offset < 0 or byte_offset + byte_length > self.byte_length:
            raise invocation_error(
                StatusCode.OUT_OF_RANGE,
                f"range of {byte_length} bytes at offset {byte_offset} is outside a file of "
                f"{self.byte_length} bytes",
            )
