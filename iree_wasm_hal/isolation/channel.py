"""Messages between two processes: a socket that keeps them apart, and memory for what is long."""

from __future__ import annotations

import contextlib
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iree_wasm_hal.errors import InternalError
from iree_wasm_hal.isolation.tensors import TensorWriter

if TYPE_CHECKING:
    import mmap

    from iree_wasm_hal.isolation.segment import Segment

__all__ = ["Channel", "Message", "socket_pair"]

_HEADER = struct.Struct("<qQQ")
"""Number of the message, bytes used in the segment, where in it the body begins if not here."""
_LONGEST_INLINE = 1 << 15
"""Longer bodies go through the segment. Well below what a socket takes at once."""


@dataclass(frozen=True, slots=True)
class Message:
    """What was received."""

    number: int
    body: bytes
    memory: mmap.mmap | None
    """Holds the tensors until the next message is asked for; None where there are none."""
    segment_length: int
    """Bytes that it takes of the segment."""


class Channel:
    """One end. Thread-compatible: one thread sends and receives at a time.

    Args:
        connection: A socket of ``socket_pair``.
        outgoing: Written by this side.
        incoming: Written by the other.
        longest_body: Bytes of a body that the other side may send; None for any number.
    """

    def __init__(
        self,
        connection: socket.socket,
        outgoing: Segment,
        incoming: Segment,
        longest_body: int | None = None,
    ) -> None:
        self._socket = connection
        self._outgoing = outgoing
        self._incoming = incoming
        self._longest_body = longest_body

    def send(
        self,
        number: int,
        body: bytes,
        tensors: TensorWriter | None = None,
        timeout_s: float | None = None,
    ) -> int:
        """Sends a message.

        Returns:
            Bytes that it takes of the segment.

        Raises:
            TimeoutError: The other side does not read what it got before.
            OSError: The other side is gone.
            LimitError: There is no memory for it.
        """
        writer = tensors or TensorWriter()
        is_long = len(body) > _LONGEST_INLINE
        start, end = writer.write(self._outgoing, body if is_long else b"")
        self._socket.settimeout(timeout_s)
        self._socket.sendall(_HEADER.pack(number, end, start) + (b"" if is_long else body))
        return end

    def receive(self, timeout_s: float | None = None) -> Message:
        """Waits for a message.

        Raises:
            TimeoutError: There was none in that time.
            EOFError: The other side is gone.
            InternalError: It is malformed.
        """
        self._socket.settimeout(timeout_s)
        try:
            packet = self._socket.recv(_HEADER.size + _LONGEST_INLINE)
        except BlockingIOError as error:  # how a time of 0 is over
            raise TimeoutError from error
        except ConnectionResetError:  # it went while something that we sent was unread
            packet = b""
        if not packet:
            raise EOFError
        if len(packet) < _HEADER.size:
            raise InternalError(f"a message of {len(packet)} bytes")
        number, end, start = _HEADER.unpack_from(packet)
        if not end:
            return Message(number, packet[_HEADER.size :], None, 0)
        memory = self._incoming.mapped(end)
        body = packet[_HEADER.size :]
        if not body:
            if self._longest_body is not None and end - start > self._longest_body:
                raise InternalError(f"a message of {end - start} bytes beside its tensors")
            body = memory[start:end]
        return Message(number, body, memory, end)

    def trim_outgoing(self, byte_length: int) -> None:
        """Gives memory back after a message of that length has been read."""
        self._outgoing.trim(byte_length)

    def trim_incoming(self, byte_length: int) -> None:
        """Gives memory back after a message of that length has been used."""
        self._incoming.trim(byte_length)

    def close(self) -> None:
        """Lets the other side see the end. Idempotent."""
        with contextlib.suppress(OSError):  # the other side was faster
            self._socket.shutdown(socket.SHUT_RDWR)
        self.abandon()

    def abandon(self) -> None:
        """Gives this process's descriptors up, for one that was forked. Idempotent."""
        self._socket.close()
        self._outgoing.close()
        self._incoming.close()


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets that keep messages apart.

    Raises:
        OSError: There are no descriptors left.
    """
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
