"""Function names, for messages. Damage to the name section makes no module invalid.

Spec: https://webassembly.github.io/spec/core/appendix/custom.html#name-section
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal_wasm3.validation.failure import InvalidWasmError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from iree_wasm_hal_wasm3.validation.reader import Reader

__all__ = ["function_names"]

_FUNCTION_NAMES = 1


def function_names(sections: Iterable[Reader]) -> dict[int, str]:
    """Names by function index, as far as they can be read."""
    names: dict[int, str] = {}
    for reader in sections:
        try:
            _read(reader, names)
        except InvalidWasmError:
            continue  # what was read before the damage stays
    return names


def _read(reader: Reader, names: dict[int, str]) -> None:
    while reader.position < reader.end:
        number = reader.u8()
        byte_length = reader.u32()
        if number != _FUNCTION_NAMES:
            reader.take(byte_length)
            continue
        for _ in range(reader.count("names", 2)):
            index = reader.u32()
            names[index] = reader.name()
