"""``.gguf`` files, versions 2 and 3.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md: a header, key-value metadata
(skipped, but for the alignment), tensor descriptions, and the aligned tensor data. Quantized
tensors are served as the bytes they are; a program that asks for them knows their layout.
"""

from __future__ import annotations

import math
import struct

from iree_wasm_hal.errors import ParameterError
from iree_wasm_hal.vm.modules.io_parameters.index import DataEntry, Entry

__all__ = ["MAGIC", "parse_gguf"]

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_DEFAULT_ALIGNMENT = 32
_ALIGNMENT_KEY = b"general.alignment"
_MAX_RANK = 8
_MAX_SIZE = 2**63 - 1
_MAX_ARRAY_DEPTH = 4

# Metadata value type -> byte length; 8 is a string, 9 an array.
_SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_UINT32, _STRING, _ARRAY = 4, 8, 9

# Tensor type -> (elements per block, bytes per block).
_BLOCKS = {
    0: (1, 4),  # F32
    1: (1, 2),  # F16
    2: (32, 18),  # Q4_0
    3: (32, 20),  # Q4_1
    6: (32, 22),  # Q5_0
    7: (32, 24),  # Q5_1
    8: (32, 34),  # Q8_0
    9: (32, 36),  # Q8_1
    10: (256, 84),  # Q2_K
    11: (256, 110),  # Q3_K
    12: (256, 144),  # Q4_K
    13: (256, 176),  # Q5_K
    14: (256, 210),  # Q6_K
    15: (256, 292),  # Q8_K
    24: (1, 1),  # I8
    25: (1, 2),  # I16
    26: (1, 4),  # I32
    27: (1, 8),  # I64
    28: (1, 8),  # F64
    30: (1, 2),  # BF16
}


def parse_gguf(data: memoryview, source: str) -> dict[str, Entry]:
    """Reads the tensor descriptions; tensor bytes stay where they are.

    Args:
        data: The whole file, format ``B``.
        source: Name of the file for messages.

    Raises:
        ParameterError: A damaged file, an unknown version or tensor type, or a key that occurs
            twice.
    """
    reader = _Reader(data, source)
    reader.take(4)
    version = reader.u32()
    if version not in _VERSIONS:
        raise reader.error(f"version {version} is unknown; expected 2 or 3")
    tensor_count, metadata_count = reader.u64(), reader.u64()
    alignment = _DEFAULT_ALIGNMENT
    for _ in range(metadata_count):
        key, kind = bytes(reader.string()), reader.u32()
        if key == _ALIGNMENT_KEY and kind == _UINT32:
            alignment = reader.u32()
        else:
            reader.skip_value(kind)
    if alignment == 0 or alignment & (alignment - 1):
        raise reader.error(f"alignment {alignment} is not a power of two")
    spans: dict[str, tuple[int, int]] = {}
    for _ in range(tensor_count):
        name, offset, byte_length = reader.tensor()
        if name in spans:
            raise reader.error(f"key {name!r} occurs twice")
        spans[name] = (offset, byte_length)
    body_offset = -(-reader.position // alignment) * alignment
    body_length = max(0, len(data) - body_offset)
    entries: dict[str, Entry] = {}
    for name, (offset, byte_length) in spans.items():
        if offset + byte_length > body_length:
            raise reader.error(
                f"tensor {name!r} is data bytes {offset} to {offset + byte_length} of {body_length}"
            )
        entries[name] = DataEntry(body_offset + offset, byte_length)
    return entries


class _Reader:
    """A bounds-checked cursor. Every count costs bytes of the file, so counts cannot run away."""

    def __init__(self, data: memoryview, source: str) -> None:
        self._data = data
        self._source = source
        self.position = 0

    def take(self, byte_length: int) -> memoryview:
        end = self.position + byte_length
        if end > len(self._data):
            raise self.error(
                f"{byte_length} bytes at byte {self.position} run past the end of the file "
                f"({len(self._data)} bytes)"
            )
        taken = self._data[self.position : end]
        self.position = end
        return taken

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def u64(self) -> int:
        return int.from_bytes(self.take(8), "little")

    def string(self) -> memoryview:
        return self.take(self.u64())

    def skip_value(self, kind: int, depth: int = 0) -> None:
        if kind in _SCALARS:
            self.take(_SCALARS[kind])
        elif kind == _STRING:
            self.string()
        elif kind == _ARRAY and depth < _MAX_ARRAY_DEPTH:
            element_kind, count = self.u32(), self.u64()
            if element_kind in _SCALARS:
                self.take(_SCALARS[element_kind] * count)
                return
            for _ in range(count):
                self.skip_value(element_kind, depth + 1)
        else:
            raise self.error(f"metadata of unknown type {kind} or nested too deeply")

    def tensor(self) -> tuple[str, int, int]:
        """One tensor description: its name, offset in the data and byte length."""
        name = bytes(self.string()).decode("utf-8", "surrogateescape")
        rank = self.u32()
        if rank > _MAX_RANK:
            raise self.error(f"tensor {name!r} has rank {rank}; at most {_MAX_RANK} is supported")
        shape = struct.unpack(f"<{rank}Q", self.take(8 * rank))
        kind, offset = self.u32(), self.u64()
        if kind not in _BLOCKS:
            raise self.error(f"tensor {name!r} has unknown type {kind}")
        block_element_count, block_byte_length = _BLOCKS[kind]
        element_count = math.prod(shape)
        if max(shape, default=0) > _MAX_SIZE or element_count % block_element_count:
            raise self.error(f"tensor {name!r} of shape {shape} does not fit its type {kind}")
        return name, offset, element_count // block_element_count * block_byte_length

    def error(self, message: str) -> ParameterError:
        return ParameterError(f"{self._source}: {message}")
