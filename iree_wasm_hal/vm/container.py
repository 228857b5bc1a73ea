"""The container of a ``.vmfb``: where the FlatBuffer lies in the file.

Either a ZIP archive whose first entry is the FlatBuffer (with the constants as further entries
after it), or the size-prefixed FlatBuffer alone. Only the first local file header is read, by our
own code: of the ZIP directory at the end only the end record is looked for, without which the file
is cut off.

Spec: APPNOTE.TXT 4.3.7 (local file header), 4.3.16 (end record), 4.5.3 (ZIP64 extra field);
iree/vm/bytecode/archive.c (64-byte alignment of constants).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iree_wasm_hal.errors import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Container", "parse_container"]

_SIGNATURE = b"PK\x03\x04"
_END_SIGNATURE = b"PK\x05\x06"
_END_RECORD_BYTES = 22
_MAX_COMMENT_BYTES = 0xFFFF
_LOCAL_HEADER = struct.Struct("<4sHHHHHIIIHH")
assert _LOCAL_HEADER.size == 30
_FLAG_ENCRYPTED = 0x1
_METHOD_STORED = 0
_ZIP64_EXTRA = 0x0001
_UNKNOWN_32 = 0xFFFFFFFF
_SIZE_PREFIX = struct.Struct("<I")
_MIN_FLATBUFFER_BYTES = 12
_RODATA_ALIGNMENT = 64
"""``IREE_VM_ARCHIVE_SEGMENT_ALIGNMENT``."""

_KNOWN_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"\x7fELF", "an ELF file (machine code)"),
    (b"MZ", "a Windows executable"),
    (b"\0asm", "a bare WebAssembly module (a vmfb holds one; pass the vmfb)"),
    (b"ML\xefR", "MLIR bytecode (compile it first)"),
    (b"BC\xc0\xde", "LLVM bitcode"),
    (b"\x1f\x8b", "gzip data (unpack it first)"),
    (b"\x28\xb5\x2f\xfd", "Zstandard data (unpack it first)"),
    (b"GGUF", "a GGUF parameter archive (pass it as parameters)"),
    (b"IRPA", "an IREE parameter archive (pass it as parameters)"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89PNG", "a PNG picture"),
    (b"\x89HDF", "an HDF5 file"),
    (b"PK\x05\x06", "an empty ZIP archive"),
)
_MLIR_STARTS = (b"module", b"func", b"util.", b"vm.", b"hal.", b"builtin.", b"#", b"//", b"!")


def _is_safetensors(head: bytes) -> bool:
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32


_GUESSES: tuple[tuple[str, Callable[[bytes], bool]], ...] = (
    ("a ZIP archive of something else", lambda head: head.startswith(_SIGNATURE)),
    ("a TensorFlow Lite model (import it first)", lambda head: head[4:8] == b"TFL3"),
    # An ir_version field, then a producer name, opset or graph.
    (
        "an ONNX model (compile it first)",
        lambda head: head[0] == 0x08 and head[2:3] in (b"\x12", b"\x1a", b":"),
    ),
    ("a safetensors archive (pass it as parameters)", _is_safetensors),
    ("MLIR text (compile it first)", lambda head: head.lstrip().startswith(_MLIR_STARTS)),
)


@dataclass(frozen=True, slots=True)
class Container:
    """Ranges of a file that was recognised as a vmfb.

    Attributes:
        flatbuffer: The FlatBuffer, without its size prefix.
        rodata_offset: Where in the file the external constants begin.
    """

    flatbuffer: memoryview
    rodata_offset: int


def parse_container(data: memoryview) -> Container:
    """Finds the FlatBuffer.

    Raises:
        ArchiveError: Not a vmfb (says what it looks like), or cut off or damaged.
    """
    start, end = 0, len(data)
    if bytes(data[:4]) == _SIGNATURE:
        start, end = _zip_entry(data)
        _check_end_record(data)
    if end - start < _SIZE_PREFIX.size + _MIN_FLATBUFFER_BYTES:
        raise ArchiveError(
            f"{_describe(data)}; expected a vmfb" if start == 0 else _cut_off(end - start, 16)
        )
    length: int = _SIZE_PREFIX.unpack_from(data, start)[0]
    begin = start + _SIZE_PREFIX.size
    if bytes(data[begin + 4 : begin + 8]) != b"IREE":
        raise ArchiveError(f"not a vmfb: {_describe(data[start:] if start else data)}")
    # The compiler's size prefix counts its own 4 bytes, contrary to the FlatBuffers convention,
    # so that the FlatBuffer seems to reach 4 bytes past its ZIP entry.
    available = min(end + _SIZE_PREFIX.size, len(data)) - begin
    if length < _MIN_FLATBUFFER_BYTES or length > available:
        raise ArchiveError(_cut_off(available, length))
    rodata = -(-(begin + length) // _RODATA_ALIGNMENT) * _RODATA_ALIGNMENT
    return Container(data[begin : begin + length], rodata)


def _cut_off(found: int, needed: int) -> str:
    return f"the FlatBuffer needs {needed} bytes and the file has {found}: damaged or cut off"


def _zip_entry(data: memoryview) -> tuple[int, int]:
    """Start and end of the first entry's contents."""
    if len(data) < _LOCAL_HEADER.size:
        raise ArchiveError(f"ZIP archive cut off after {len(data)} bytes, inside its first header")
    header = _LOCAL_HEADER.unpack_from(data)
    flags, method = header[2], header[3]
    packed, unpacked, name_length, extra_length = header[7:11]
    if method != _METHOD_STORED or flags & _FLAG_ENCRYPTED:
        raise ArchiveError(
            f"first ZIP entry has compression method {method}, flags {flags:#x}; a vmfb's entries"
            " are stored, not compressed or encrypted. Do not repack the archive."
        )
    extra = _LOCAL_HEADER.size + name_length
    start = extra + extra_length
    if start > len(data):
        raise ArchiveError(
            f"ZIP archive cut off: its first header ends at byte {start}, the file at {len(data)}"
        )
    if _UNKNOWN_32 in (packed, unpacked):
        packed, unpacked = _zip64_sizes(data[extra:start], packed, unpacked)
    if packed != unpacked:
        raise ArchiveError(f"stored ZIP entry of {packed} bytes claims {unpacked} unpacked bytes")
    # Older writers stream: sizes of 0 then mean "see the data descriptor".
    end = start + unpacked if unpacked else len(data)
    if end > len(data):
        raise ArchiveError(
            f"first ZIP entry ends at byte {end}, the file at {len(data)}: cut off or damaged"
        )
    return start, end


def _check_end_record(data: memoryview) -> None:
    """The end record is the last thing in a ZIP archive, but for a comment."""
    tail = bytes(data[-(_END_RECORD_BYTES + _MAX_COMMENT_BYTES) :])
    found = tail.rfind(_END_SIGNATURE)
    if found < 0 or len(tail) - found < _END_RECORD_BYTES:
        raise ArchiveError(
            f"ZIP archive of {len(data)} bytes without an end record: cut off or damaged"
        )


def _zip64_sizes(extra: memoryview, packed: int, unpacked: int) -> tuple[int, int]:
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, position)
        position += 4
        if position + length > len(extra):
            break
        if kind == _ZIP64_EXTRA:
            wanted = [size == _UNKNOWN_32 for size in (unpacked, packed)]
            if length < 8 * sum(wanted):
                break
            values = iter(struct.unpack_from(f"<{sum(wanted)}Q", extra, position))
            unpacked = next(values) if wanted[0] else unpacked
            packed = next(values) if wanted[1] else packed
            return packed, unpacked
        position += length
    raise ArchiveError("ZIP entry with 64-bit sizes has no valid ZIP64 extra field")


def _describe(data: memoryview) -> str:
    """What the bytes look like, for someone who passed the wrong file."""
    head = bytes(data[:256])
    if not head:
        return "the file is empty"
    found = next((what for start, what in _KNOWN_STARTS if head.startswith(start)), "")
    if found:
        return f"it looks like {found}"
    for what, test in _GUESSES:
        if test(head):
            return f"it looks like {what}"
    if not any(byte < 9 for byte in head):
        return f"it looks like text, beginning with {head[:24].decode('utf-8', 'replace')!r}"
    return f"its first bytes are {head[:16].hex(' ')}"
