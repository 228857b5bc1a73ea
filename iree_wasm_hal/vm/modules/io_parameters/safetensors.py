"""``.safetensors`` files.

Format: 8 bytes of header length, a JSON header, then the tensors' bytes. The rules enforced here
are those of the format's own documentation
(https://github.com/huggingface/safetensors#format): header at most 100 MB, starts with ``{``, no
duplicate keys, spans that cover the data exactly, without overlap and without holes.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from iree_wasm_hal.errors import ParameterError
from iree_wasm_hal.vm.modules.io_parameters.index import DataEntry, Entry

__all__ = ["parse_safetensors"]

_MAX_HEADER_BYTE_LENGTH = 100_000_000
_MAX_RANK = 64
_MAX_SIZE = 2**63 - 1
_METADATA_KEY = "__metadata__"
_BIT_WIDTHS = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "I64": 64,
    "U64": 64,
    "F64": 64,
    "C64": 64,
}


def parse_safetensors(data: memoryview, source: str) -> dict[str, Entry]:
    """Reads the header; tensor bytes stay where they are.

    Args:
        data: The whole file, format ``B``.
        source: Name of the file for messages.

    Raises:
        ParameterError: The file breaks a rule of the format.
    """
    header, body_offset = _read_header(data, source)
    body_length = len(data) - body_offset
    spans = [
        (*_span(name, value, body_length, source), name)
        for name, value in header.items()
        if name != _METADATA_KEY
    ]
    position = 0
    entries: dict[str, Entry] = {}
    for begin, end, name in sorted(spans):
        if begin != position:
            raise ParameterError(
                f"{source}: tensor {name!r} begins at data byte {begin}, but the one before it "
                f"ends at {position}; tensors may neither overlap nor leave holes"
            )
        entries[name] = DataEntry(body_offset + begin, end - begin)
        position = end
    if position != body_length:
        raise ParameterError(
            f"{source}: the tensors cover {position} of {body_length} bytes of data"
        )
    return entries


def _read_header(data: memoryview, source: str) -> tuple[dict[str, Any], int]:
    if len(data) < 8:
        raise ParameterError(f"{source}: {len(data)} bytes are too few for a safetensors file")
    length = int.from_bytes(data[:8], "little")
    if length > _MAX_HEADER_BYTE_LENGTH or 8 + length > len(data):
        raise ParameterError(
            f"{source}: safetensors header of {length} bytes; at most {_MAX_HEADER_BYTE_LENGTH} "
            f"are allowed and the file has {len(data)}"
        )
    text = bytes(data[8 : 8 + length])
    if text[:1] != b"{":
        raise ParameterError(f"{source}: the safetensors header does not begin with '{{'")
    try:
        header = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
        )
    except (ValueError, RecursionError) as error:  # JSONDecodeError, UnicodeDecodeError included
        raise ParameterError(f"{source}: damaged safetensors header: {error}") from error
    if not isinstance(header, dict):
        raise ParameterError(f"{source}: the safetensors header is not one JSON object")
    return header, 8 + length


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"key {key!r} occurs twice")
        result[key] = value
    return result


def _refuse_number(text: str) -> NoReturn:
    raise ValueError(f"{text} where an integer is expected")


def _span(name: str, value: Any, data_byte_length: int, source: str) -> tuple[int, int]:
    """Checks one tensor's description; returns where its bytes begin and end."""
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise ParameterError(
            f"{source}: tensor {name!r} needs exactly dtype, shape and data_offsets"
        )
    shape, offsets = value["shape"], value["data_offsets"]
    if not _is_sizes(shape) or not _is_sizes(offsets) or len(offsets) != 2:
        raise ParameterError(
            f"{source}: tensor {name!r}: shape and data_offsets must be lists of sizes"
        )
    dtype = value["dtype"]
    bit_width = _BIT_WIDTHS.get(dtype) if isinstance(dtype, str) else None
    if bit_width is None:
        raise ParameterError(f"{source}: tensor {name!r} has unknown dtype {dtype!r}")
    begin, end = offsets
    bit_length = math.prod(shape) * bit_width
    if not begin <= end <= data_byte_length or bit_length != (end - begin) * 8:
        raise ParameterError(
            f"{source}: tensor {name!r}, {dtype} of shape {shape}, has data_offsets "
            f"[{begin}, {end}]; expected {bit_length / 8:g} bytes within {data_byte_length}"
        )
    return begin, end


def _is_sizes(value: Any) -> bool:
    """A list of sizes, few and small enough that their product costs nothing."""
    return (
        isinstance(value, list)
        and len(value) <= _MAX_RANK
        and all(type(item) is int and 0 <= item <= _MAX_SIZE for item in value)
    )
