"""Operations on refs: buffers, lists and globals, as generated code calls them.

Spec: iree/vm/bytecode/dispatch.c, buffer.c (SipHash-2-4 with key bytes 0 to 15).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from iree_wasm_hal.status import StatusCode, error_from_status, invocation_error
from iree_wasm_hal.vm.buffer import Buffer
from iree_wasm_hal.vm.list import List

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["NAMESPACE"]

_U64 = 0xFFFFFFFFFFFFFFFF
_SIP_START = (
    0x736F6D6570736575 ^ 0x0706050403020100,
    0x646F72616E646F6D ^ 0x0F0E0D0C0B0A0908,
    0x6C7967656E657261 ^ 0x0706050403020100,
    0x7465646279746573 ^ 0x0F0E0D0C0B0A0908,
)
_HASH_CHUNK_BYTES = 1 << 12
_HASH_CHUNK_COST = 40_000
"""In instructions. Hashing in Python is slow enough to be bounded like a loop."""
_ELEMENTS = {
    "i8_u": ("<B", 0xFF),
    "i8_s": ("<b", 0),
    "i16_u": ("<H", 0xFFFF),
    "i16_s": ("<h", 0),
    "i32": ("<i", 0),
    "i64": ("<q", 0),
    "f32": ("<f", 0),
    "f64": ("<d", 0),
}
"""``struct`` format, and the mask that makes a store of a wider integer fit."""


def buffer_of(ref: object) -> Buffer:
    """The buffer that a ref is.

    Raises:
        InvocationError: INVALID_ARGUMENT: null, or no buffer.
    """
    if isinstance(ref, Buffer):
        return ref
    raise invocation_error(StatusCode.INVALID_ARGUMENT, _not_a("vm.buffer", ref))


def list_of(ref: object) -> List:
    """The list that a ref is.

    Raises:
        InvocationError: INVALID_ARGUMENT: null, or no list.
    """
    if isinstance(ref, List):
        return ref
    raise invocation_error(StatusCode.INVALID_ARGUMENT, _not_a("vm.list", ref))


def _not_a(expected: str, ref: object) -> str:
    found = "null" if ref is None else type(ref).__name__
    return f"the {expected} is {found}"


def check_ref(ref: object, cls: type) -> object:
    """The ref itself, if it is null or of a class.

    Raises:
        InvocationError: INVALID_ARGUMENT: of another class.
    """
    if ref is None or isinstance(ref, cls):
        return ref
    raise invocation_error(
        StatusCode.INVALID_ARGUMENT, f"ref of type {type(ref).__name__}; expected {cls.__name__}"
    )


def unresolved(import_name: str) -> Callable[..., object]:
    """A callable that stands for an optional import no module serves."""

    def call(*_: object) -> object:
        raise invocation_error(
            StatusCode.NOT_FOUND, f"optional import {import_name!r} is not resolved"
        )

    return call


def _loader(format_: str) -> Callable[[object, int], int | float]:
    unpack = struct.Struct(format_).unpack_from
    width = struct.calcsize(format_)

    def load(ref: object, index: int) -> int | float:
        view = buffer_of(ref).view
        offset = index * width
        if offset < 0 or offset + width > len(view):
            raise invocation_error(
                StatusCode.OUT_OF_RANGE,
                f"load at byte offset {offset}, length {width}, of a vm.buffer of {len(view)}"
                " bytes",
            )
        value: int | float = unpack(view, offset)[0]
        return value

    return load


def _storer(format_: str, mask: int) -> Callable[[object, int, int | float], None]:
    pack = struct.Struct(format_).pack_into
    width = struct.calcsize(format_)

    def store(ref: object, index: int, value: int | float) -> None:
        target = buffer_of(ref).write(index * width, width)
        pack(target, 0, int(value) & mask if mask else value)

    return store


def _filler(format_: str, mask: int) -> Callable[[object, int, int, int | float], None]:
    pack = struct.Struct(format_).pack
    width = struct.calcsize(format_)

    def fill(ref: object, index: int, count: int, value: int | float) -> None:
        pattern = pack(int(value) & mask if mask else value)
        buffer_of(ref).fill(index * width, pattern, count)

    return fill


def buffer_clone(alloc: Callable[[int, int], Buffer]) -> Callable[..., Buffer]:
    """``buffer.clone`` for one context's allocator."""

    def clone(ref: object, offset: int, length: int, alignment: int) -> Buffer:
        source = buffer_of(ref).read(offset, length)
        target = alloc(length, alignment)
        target.view[:] = source
        return target

    return clone


def buffer_copy(source: object, start: int, target: object, to: int, length: int) -> None:
    """``buffer.copy``; overlapping ranges copy as if through a temporary."""
    contents = buffer_of(source)
    destination = buffer_of(target)
    view = contents.read(start, length)
    destination.write(to, length)[:] = view


def buffer_compare(a: object, a_start: int, b: object, b_start: int, length: int) -> int:
    """``buffer.compare``: 1 where the bytes are equal."""
    first, second = buffer_of(a), buffer_of(b)
    left = first.read(a_start, length)
    return 1 if left == second.read(b_start, length) else 0


def buffer_length(ref: object) -> int:
    """``buffer.length``."""
    return len(buffer_of(ref).view)


def buffer_hash(charge: Callable[[int], None]) -> Callable[[object, int, int], int]:
    """``buffer.hash`` for one context's budget: SipHash-2-4 of a range, signed."""

    def hash_range(ref: object, start: int, length: int) -> int:
        view = buffer_of(ref).read(start, length)
        tail = bytes(view[length & ~7 :]).ljust(7, b"\0") + bytes([length & 0xFF])
        v0, v1, v2, v3 = _SIP_START
        for first in range(0, length & ~7, _HASH_CHUNK_BYTES):
            charge(_HASH_CHUNK_COST)
            chunk = view[first : min(first + _HASH_CHUNK_BYTES, length & ~7)]
            for (word,) in struct.iter_unpack("<Q", chunk):
                v0, v1, v2, v3 = _sip_rounds(2, v0, v1, v2, v3 ^ word)
                v0 ^= word
        (word,) = struct.unpack("<Q", tail)
        v0, v1, v2, v3 = _sip_rounds(2, v0, v1, v2, v3 ^ word)
        v0, v1, v2, v3 = _sip_rounds(4, v0 ^ word, v1, v2 ^ 0xFF, v3)
        digest = v0 ^ v1 ^ v2 ^ v3
        return digest - (1 << 64) if digest >> 63 else digest

    return hash_range


def _sip_rounds(count: int, v0: int, v1: int, v2: int, v3: int) -> tuple[int, int, int, int]:
    for _ in range(count):
        v0 = v0 + v1 & _U64
        v1 = _rotate(v1, 13) ^ v0
        v0 = _rotate(v0, 32)
        v2 = v2 + v3 & _U64
        v3 = _rotate(v3, 16) ^ v2
        v0 = v0 + v3 & _U64
        v3 = _rotate(v3, 21) ^ v0
        v2 = v2 + v1 & _U64
        v1 = _rotate(v1, 17) ^ v2
        v2 = _rotate(v2, 32)
    return v0, v1, v2, v3


def _rotate(value: int, count: int) -> int:
    return (value << count | value >> 64 - count) & _U64


def _global_range(storage: bytearray, offset: int, width: int) -> int:
    start = offset & 0xFFFFFFFF
    if start + width > len(storage):
        raise invocation_error(
            StatusCode.OUT_OF_RANGE,
            f"global at byte {start} of width {width}; the module has {len(storage)} bytes",
        )
    return start


def _global_loader(format_: str) -> Callable[[bytearray, int], int | float]:
    unpack = struct.Struct(format_).unpack_from
    width = struct.calcsize(format_)

    def load(storage: bytearray, offset: int) -> int | float:
        value: int | float = unpack(storage, _global_range(storage, offset, width))[0]
        return value

    return load


def _global_storer(format_: str) -> Callable[[bytearray, int, int | float], None]:
    pack = struct.Struct(format_).pack_into
    width = struct.calcsize(format_)

    def store(storage: bytearray, offset: int, value: int | float) -> None:
        pack(storage, _global_range(storage, offset, width), value)

    return store


def global_ref(refs: list[object], ordinal: int) -> int:
    """A checked index into the ref globals.

    Raises:
        InvocationError: OUT_OF_RANGE.
    """
    index = ordinal & 0xFFFFFFFF
    if index >= len(refs):
        raise invocation_error(StatusCode.OUT_OF_RANGE, f"global ref {index} of {len(refs)}")
    return index


def _namespace() -> dict[str, object]:
    names: dict[str, object] = {
        "_buffer": buffer_of,
        "_list": list_of,
        "_check_ref": check_ref,
        "_fail": error_from_status,
        "_copy": buffer_copy,
        "_compare": buffer_compare,
        "_length": buffer_length,
        "_global_ref": global_ref,
    }
    for name, (format_, mask) in _ELEMENTS.items():
        names[f"_load_{name}"] = _loader(format_)
        names[f"_store_{name}"] = _storer(format_, mask)
        names[f"_fill_{name}"] = _filler(format_, mask)
    for name in ("i32", "i64", "f32", "f64"):
        names[f"_gload_{name}"] = _global_loader(_ELEMENTS[name][0])
        names[f"_gstore_{name}"] = _global_storer(_ELEMENTS[name][0])
    return names


NAMESPACE: Mapping[str, object] = _namespace()
"""The helpers under the names that ``vm.templates`` uses."""
