"""Reads the binary format's values, each with its length checked."""

from __future__ import annotations

from iree_wasm_hal_wasm3.validation.failure import InvalidWasmError

__all__ = ["Reader", "read_signed", "read_u32"]


def read_u32(data: bytes, position: int) -> tuple[int, int]:
    """An unsigned LEB128 of at most 32 bits, and the position after it.

    Raises:
        IndexError: The data ends within it.
        InvalidWasmError: It has more than 32 bits or 5 bytes.
    """
    value = data[position]
    if value < 0x80:
        return value, position + 1
    start, shift = position, 7
    value &= 0x7F
    while True:
        position += 1
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift > 28:
            raise InvalidWasmError("integer representation too long", start)
    if value >> 32:
        raise InvalidWasmError("integer too large for 32 bits", start)
    return value, position + 1


def read_signed(data: bytes, position: int, bits: int) -> tuple[int, int]:
    """A signed LEB128 of at most ``bits`` bits, and the position after it.

    Raises:
        IndexError: The data ends within it.
        InvalidWasmError: It has more bits, or more bytes than that many bits need.
    """
    start, shift, value = position, 0, 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
        if shift >= bits:
            raise InvalidWasmError("integer representation too long", start)
    if byte & 0x40:
        value -= 1 << shift
    if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
        raise InvalidWasmError(f"integer too large for {bits} bits", start)
    return value, position


class Reader:
    """A position in a range of the module.

    Attributes:
        data: The whole module.
        position: Byte offset of what is read next.
        end: Byte offset of the end of the range.
    """

    __slots__ = ("data", "end", "position", "what")

    def __init__(self, data: bytes, position: int, end: int, what: str) -> None:
        self.data = data
        self.position = position
        self.end = end
        self.what = what

    def u8(self) -> int:
        """One byte."""
        if self.position >= self.end:
            raise self.failure("unexpected end")
        self.position += 1
        return self.data[self.position - 1]

    def u32(self) -> int:
        """An unsigned LEB128 of 32 bits."""
        try:
            value, position = read_u32(self.data, self.position)
        except IndexError:
            raise self.failure("unexpected end") from None
        if position > self.end:
            raise self.failure("unexpected end")
        self.position = position
        return value

    def signed(self, bits: int) -> int:
        """A signed LEB128."""
        try:
            value, position = read_signed(self.data, self.position, bits)
        except IndexError:
            raise self.failure("unexpected end") from None
        if position > self.end:
            raise self.failure("unexpected end")
        self.position = position
        return value

    def take(self, byte_length: int) -> int:
        """Skips bytes; where they start."""
        start = self.position
        if byte_length > self.end - start:
            raise self.failure("unexpected end")
        self.position += byte_length
        return start

    def name(self) -> str:
        """A name: UTF-8 behind its length."""
        byte_length = self.u32()
        start = self.take(byte_length)
        try:
            return self.data[start : start + byte_length].decode()
        except UnicodeDecodeError:
            raise InvalidWasmError(f"{self.what}: malformed UTF-8 encoding", start) from None

    def count(self, what: str, least_byte_length: int = 1) -> int:
        """The length of a vector, checked against the bytes that are left."""
        number = self.u32()
        if number * least_byte_length > self.end - self.position:
            raise self.failure(f"unexpected end: {number} {what} announced")
        return number

    def finish(self) -> None:
        """Checks that the range is used up."""
        if self.position != self.end:
            raise self.failure(f"{self.end - self.position} bytes too many")

    def failure(self, message: str) -> InvalidWasmError:
        """The error for something wrong at the position."""
        return InvalidWasmError(f"{self.what}: {message}", self.position)
