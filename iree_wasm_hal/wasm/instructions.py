"""Walks function bodies instruction by instruction: a regular expression per body, not a loop.

One alternative per immediate shape, each starting with its own opcode bytes, so that
``findall`` splits a body into instructions at the speed of the ``re`` engine (about 0.2 s per
MB of code; a loop in Python takes ten times as long). The instruction set is that of the wasm 3.0
spec without garbage collection, plus threads, relaxed SIMD and the legacy exception instructions.
Whether operands and types fit is the engine's validator's matter.

Spec: https://webassembly.github.io/spec/core/binary/instructions.html
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from iree_wasm_hal.wasm.binary import Reader

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["scan_body"]

_U32 = rb"(?:[\x80-\xff]{0,3}[\x00-\x7f]|[\x80-\xff]{4}[\x00-\x0f])"
_U64 = rb"(?:[\x80-\xff]{0,8}[\x00-\x7f]|[\x80-\xff]{9}[\x00\x01])"
_S32 = rb"(?:[\x80-\xff]{0,3}[\x00-\x7f]|[\x80-\xff]{4}[\x00-\x07\x78-\x7f])"
_S33 = rb"(?:[\x80-\xff]{0,3}[\x00-\x7f]|[\x80-\xff]{4}[\x00-\x0f\x70-\x7f])"
_S64 = rb"(?:[\x80-\xff]{0,8}[\x00-\x7f]|[\x80-\xff]{9}[\x00\x7f])"

# Single-byte instructions: control, parametric, comparison, arithmetic, conversion, ref.is_null.
_PLAIN = bytes(
    [0x00, 0x01, 0x05, 0x0A, 0x0B, 0x0F, 0x19, 0x1A, 0x1B, *range(0x45, 0xC5), 0xD1],
)
# One unsigned immediate: locals, globals, tables, branches, calls, tags, memory.size/grow.
_ONE_INDEX = bytes([*range(0x20, 0x27), *range(0x07, 0x0A), 0x0C, 0x0D, 0x10, 0x12, 0x18, 0x3F])
_ONE_INDEX += bytes([0x40, 0xD2])
_LOADS_STORES = bytes(range(0x28, 0x3F))
_BLOCKS = bytes([0x02, 0x03, 0x04, 0x06, 0xD0])
_CALL_INDIRECT = bytes([0x11, 0x13])
_SIMD_HOLES = frozenset(
    (
        *(0x9A, 0xA2, 0xA5, 0xA6, 0xAF, 0xB0, 0xB2, 0xB3, 0xB4, 0xBB),
        *(0xC2, 0xC5, 0xC6, 0xCF, 0xD0, 0xD2, 0xD3, 0xD4, 0xE2, 0xEE),
    )
)
_MAX_FAST_BR_TABLE = 7
# Longest match of the pattern: a branch table with 8 targets of 5 bytes.
_MAX_FAST_BYTE_LENGTH = 2 + 8 * 5
# A body is split in pieces of this size, so that a large one does not cost 20 times its size.
_WINDOW_BYTE_LENGTH = 1 << 18
# What the pattern's last alternative yields, and nothing else.
_LEFTOVERS = frozenset(bytes([byte]) for byte in range(256) if byte not in _PLAIN)


def _any_of(opcodes: Iterable[int]) -> bytes:
    return b"[" + b"".join(b"\\x%02x" % opcode for opcode in opcodes) + b"]"


def _simd_plain() -> bytes:
    one_byte = [*range(0x0E, 0x15), *range(0x23, 0x54), *range(0x5E, 0x80)]
    two_byte = [opcode & 0x7F | 0x80 for opcode in range(0x80, 0x100) if opcode not in _SIMD_HOLES]
    relaxed = [opcode & 0x7F | 0x80 for opcode in range(0x100, 0x114)]
    forms = (_any_of(one_byte), _any_of(two_byte) + rb"\x01", _any_of(relaxed) + rb"\x02")
    return b"(?:" + b"|".join(forms) + b")"


@lru_cache(maxsize=2)
def _pattern(index64: bool) -> re.Pattern[bytes]:
    offset = _U64 if index64 else _U32
    # Bit 6 of the alignment says that a memory index follows (multi-memory).
    memory = b"(?:[\\x00-\\x3f]|[\\x80-\\xbf]\\x80{0,3}\\x00|[\\x40-\\x7f]" + _U32 + b")" + offset
    tables = b"|".join(b"\\x%02x%s{%d}" % (n, _U32, n + 1) for n in range(_MAX_FAST_BR_TABLE + 1))
    alternatives = (
        _any_of(_ONE_INDEX) + _U32,
        _any_of(_PLAIN),
        rb"\x41" + _S32,
        _any_of(_LOADS_STORES) + memory,
        rb"\xfd(?:"
        + b"|".join(
            (
                _simd_plain(),
                rb"[\x00-\x0b\x5c\x5d]" + memory,
                rb"[\x15-\x22][\x00-\xff]",
                rb"\x0d[\x00-\x1f]{16}",
                rb"\x0c[\x00-\xff]{16}",
                rb"[\x54-\x5b]" + memory + rb"[\x00-\xff]",
            )
        )
        + b")",
        _any_of(_BLOCKS) + _S33,
        rb"\x42" + _S64,
        rb"\x43[\x00-\xff]{4}",
        rb"\x44[\x00-\xff]{8}",
        _any_of(_CALL_INDIRECT) + _U32 + _U32,
        rb"\xfc(?:[\x00-\x07]|[\x09\x0b\x0d\x0f-\x11]"
        + _U32
        + rb"|[\x08\x0a\x0c\x0e]"
        + _U32 * 2
        + b")",
        rb"\xfe(?:[\x00-\x02\x10-\x4e]" + memory + rb"|\x03\x00)",
        rb"\x0e(?:" + tables + b")",
        rb"\x1c\x01[\x00-\xff]",
        # Whatever no alternative takes: one byte that is no plain instruction.
        rb"[\x00-\xff]",
    )
    return re.compile(b"|".join(alternatives))


def scan_body(module: bytes, start: int, end: int, *, index64: bool) -> set[bytes]:
    """The distinct instructions, immediates included, of the code ``module[start:end]``.

    Args:
        module: The whole module.
        start: Byte offset of the first instruction (after the locals).
        end: Byte offset of the end of the body.
        index64: Whether memory offsets have 64 bits.

    Raises:
        MalformedWasmError: An unknown opcode, a cut instruction, or no ``end`` at the end.
    """
    pattern = _pattern(index64)
    distinct: set[bytes] = set()
    last = b""
    at = start
    while at < end:
        window_end = min(at + _WINDOW_BYTE_LENGTH, end)
        instructions = pattern.findall(module, at, window_end)
        following = window_end
        if window_end < end:
            # The last ones may be cut by the window: the next one takes them again.
            while window_end - following < _MAX_FAST_BYTE_LENGTH:
                following -= len(instructions.pop())
        found = set(instructions)
        if not _LEFTOVERS.isdisjoint(found):
            found, last = _scan_slowly(pattern, module, at, end)
            following = end
        elif instructions:
            last = instructions[-1]
        distinct |= found
        at = following
    if last != b"\x0b":
        problem = "function body does not end with an end instruction"
        raise Reader(module, "function body", end).error(problem)
    return distinct


def _scan_slowly(
    pattern: re.Pattern[bytes], module: bytes, start: int, end: int
) -> tuple[set[bytes], bytes]:
    """The distinct instructions and the last one, with the rare ones decoded by hand."""
    distinct: set[bytes] = set()
    instruction = b""
    while start < end:
        for match in pattern.finditer(module, start, end):
            if match.group() in _LEFTOVERS:
                break
            instruction = match.group()
            distinct.add(instruction)
            start = match.end()
        if start < end:
            following = _skip_rare(Reader(module, "function body", start, end))
            instruction = module[start:following]
            distinct.add(instruction)
            start = following
    return distinct, instruction


def _skip_rare(reader: Reader) -> int:
    """The offset behind an instruction that no alternative of the pattern covers."""
    at = reader.offset
    opcode = reader.u8()
    if opcode == 0x0E:
        for _ in range(reader.count("branch targets", reader.remaining) + 1):
            reader.uleb128()
    elif opcode == 0x1F:
        reader.sleb128(33)
        for _ in range(reader.count("catch clauses", reader.remaining)):
            kind = reader.u8()
            if kind > 3:
                raise reader.error(f"unknown catch clause {kind}")
            for _ in range(2 if kind < 2 else 1):
                reader.uleb128()
    else:
        shown = reader.data[at : min(at + 3, reader.end)].hex(" ")
        raise reader.error(f"unknown or incomplete instruction (bytes {shown})", at)
    return reader.offset
