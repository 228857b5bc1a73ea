"""What a parameter archive holds: named spans of bytes, or patterns that stand for them.

The format parsers (``irpa``, ``safetensors``, ``gguf``) produce these; the native module looks
them up by key. Keys are names inside a file and never become paths.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from iree_wasm_hal.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iree_wasm_hal.hal.file import File

__all__ = ["DataEntry", "Entry", "Parameter", "ParameterIndex", "SplatEntry"]


@dataclass(frozen=True, slots=True)
class DataEntry:
    """A parameter whose bytes are stored."""

    byte_offset: int
    """From the start of the file."""
    byte_length: int


@dataclass(frozen=True, slots=True)
class SplatEntry:
    """A parameter that repeats one pattern; nothing of it is stored."""

    pattern: bytes
    """Little-endian; 1, 2, 4, 8 or 16 bytes."""
    byte_length: int


Entry = DataEntry | SplatEntry


@dataclass(frozen=True, slots=True)
class Parameter:
    """An entry and where it is stored."""

    entry: Entry
    file: File
    source: str
    """Name of the file (or ``"numpy array"``), for messages."""


@dataclass(slots=True)
class ParameterIndex:
    """All parameters of one scope, from one or more sources."""

    scope: str
    parameters: dict[str, Parameter] = field(default_factory=dict)

    def add(self, entries: Mapping[str, Entry], file: File, source: str) -> None:
        """Adds the parameters of one source.

        Raises:
            ParameterError: A key is there already; which of the two is meant is not ours to guess.
        """
        for key, entry in entries.items():
            known = self.parameters.get(key)
            if known is not None:
                raise ParameterError(
                    f"parameter scope {self.scope!r}: key {key!r} is in {source} and in "
                    f"{known.source}; give each key once"
                )
            self.parameters[key] = Parameter(entry, file, source)
