"""What a parameter archive holds: named spans of bytes, or patterns that stand for them.

The format parsers (``irpa``, ``safetensors``, ``gguf``) produce these; the native module looks
them up by key. Keys are names inside a file and never become paths.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from iree_wasm_hal.errors import ParameterError

__all__ = ["DataEntry", "Entry", "ParameterIndex", "SplatEntry"]


@dataclass(frozen=True, slots=True)
class DataEntry:
    """A parameter whose bytes are stored."""

    data: memoryview
    """Format ``B``; a slice of the mapped file or of a numpy array. Writable only for arrays."""

    @property
    def byte_length(self) -> int:
        """Length of the parameter in bytes."""
        return self.data.nbytes


@dataclass(frozen=True, slots=True)
class SplatEntry:
    """A parameter that repeats one pattern; nothing of it is stored."""

    pattern: bytes
    """Little-endian; 1, 2, 4, 8 or 16 bytes."""
    byte_length: int


Entry = DataEntry | SplatEntry


@dataclass(slots=True)
class ParameterIndex:
    """All parameters of one scope, from one or more sources."""

    scope: str
    entries: dict[str, Entry] = field(default_factory=dict)
    source_of: dict[str, str] = field(default_factory=dict)
    """Which file (or ``"numpy arrays"``) a key came from, for messages."""

    def add(self, entries: dict[str, Entry], source: str) -> None:
        """Adds the parameters of one source.

        Raises:
            ParameterError: A key is there already; which of the two is meant is not ours to guess.
        """
        for key, entry in entries.items():
            if key in self.entries:
                raise ParameterError(
                    f"parameter scope {self.scope!r}: key {key!r} is in {source} and in "
                    f"{self.source_of[key]}; give each key once"
                )
            self.entries[key] = entry
            self.source_of[key] = source
