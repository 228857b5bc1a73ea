"""Reading and writing the primitives of the wasm binary format, with every length checked.

Spec: https://webassembly.github.io/spec/core/binary/values.html
"""

from __future__ import annotations

from iree_wasm_hal.errors import MalformedWasmError

__all__ = ["Reader", "encode_name", "encode_sleb128", "encode_uleb128", "encode_vector"]


def encode_uleb128(value: int) -> bytes:
    """A non-negative integer in the fewest bytes."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def encode_sleb128(value: int) -> bytes:
    """A signed integer in the fewest bytes."""
    encoded = bytearray()
    while not -0x40 <= value < 0x40:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value & 0x7F)
    return bytes(encoded)


def encode_name(name: str) -> bytes:
    """A name: its UTF-8 bytes after their count."""
    raw = name.encode()
    return encode_uleb128(len(raw)) + raw


def encode_vector(items: list[bytes]) -> bytes:
    """Encoded items after their count."""
    return encode_uleb128(len(items)) + b"".join(items)


class Reader:
    """A cursor over ``data[start:end]`` that never reads past its end.

    Offsets in messages count from the start of ``data``.
    """

    __slots__ = ("data", "end", "offset", "what")

    def __init__(self, data: bytes, what: str, start: int = 0, end: int | None = None) -> None:
        self.data = data
        self.what = what
        self.offset = start
        self.end = len(data) if end is None else end

    def error(self, problem: str, offset: int | None = None) -> MalformedWasmError:
        """A MalformedWasmError with the place in it."""
        at = self.offset if offset is None else offset
        return MalformedWasmError(f"wasm module: {self.what} at byte {at}: {problem}")

    @property
    def remaining(self) -> int:
        """Bytes left."""
        return self.end - self.offset

    def u8(self) -> int:
        """One byte."""
        if self.offset >= self.end:
            raise self.error("ends too early, expected 1 more byte")
        value = self.data[self.offset]
        self.offset += 1
        return value

    def take(self, byte_length: int) -> bytes:
        """The next ``byte_length`` bytes."""
        if byte_length > self.remaining:
            raise self.error(f"needs {byte_length} bytes, {self.remaining} are left")
        start = self.offset
        self.offset = start + byte_length
        return self.data[start : self.offset]

    def sub_reader(self, byte_length: int, what: str) -> Reader:
        """A reader of the next ``byte_length`` bytes, which this one skips."""
        if byte_length > self.remaining:
            raise self.error(f"{what} has {byte_length} bytes, {self.remaining} are left")
        start = self.offset
        self.offset = start + byte_length
        return Reader(self.data, what, start, self.offset)

    def _leb128(self, sign: str, bit_count: int) -> tuple[int, int, int]:
        """The bits of a LEB128 integer, how many there are, and its last byte."""
        start = self.offset
        value = shift = 0
        while True:
            byte = self.u8()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value, shift, byte
            if shift >= bit_count:
                raise self.error(f"integer takes more bytes than {sign}{bit_count} may", start)

    def uleb128(self, bit_count: int = 32) -> int:
        """An unsigned LEB128 of at most ``bit_count`` bits, in the spec's maximal length."""
        start = self.offset
        value, _, _ = self._leb128("u", bit_count)
        if value >> bit_count:
            raise self.error(f"integer does not fit u{bit_count}", start)
        return value

    def sleb128(self, bit_count: int) -> int:
        """A signed LEB128 of at most ``bit_count`` bits, in the spec's maximal length."""
        start = self.offset
        value, shift, byte = self._leb128("s", bit_count)
        if byte & 0x40:
            value -= 1 << shift
        if not -(1 << (bit_count - 1)) <= value < 1 << (bit_count - 1):
            raise self.error(f"integer does not fit s{bit_count}", start)
        return value

    def count(self, what: str, limit: int) -> int:
        """The length of a vector whose items take a byte each or more.

        Raises:
            MalformedWasmError: More than ``limit`` items or than bytes are left.
        """
        start = self.offset
        count = self.uleb128()
        if count > self.remaining:
            raise self.error(f"{count} {what} in {self.remaining} bytes", start)
        if count > limit:
            raise self.error(f"{count} {what}, at most {limit} are supported", start)
        return count

    def name(self) -> str:
        """A UTF-8 name."""
        start = self.offset
        raw = self.take(self.uleb128())
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise self.error(f"name is not UTF-8: {error.reason}", start) from error

    def finish(self) -> None:
        """Checks that nothing is left.

        Raises:
            MalformedWasmError: Bytes are left.
        """
        if self.offset != self.end:
            raise self.error(f"{self.remaining} bytes too many")
