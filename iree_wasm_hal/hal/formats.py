"""Executable format strings: what a device takes, and what to do about the others.

A format is ``system-wasm-wasm_32`` or ``system-wasm-wasm_64``, as the compiler writes for a wasm
target, optionally followed by ``-feature`` words, which fat archives use to offer one kernel
module per feature level. Stock archives carry no such words; what they need stands in their
``target_features`` section.
"""

from __future__ import annotations

from dataclasses import dataclass

from iree_wasm_hal.engine.contract import EngineInfo, Feature
from iree_wasm_hal.errors import IncompatibleTargetError
from iree_wasm_hal.hal.compatibility import compile_command

__all__ = ["FORMAT_START", "ExecutableFormat", "incompatible_format_error"]

FORMAT_START = b"system-wasm-"
"""Every format begins with it."""
_PREFIXES = {"system-wasm-wasm_32": False, "system-wasm-wasm_64": True}
_WIDE = "wide"
_WORDS: dict[str, frozenset[Feature]] = {
    "simd": frozenset({Feature.SIMD128}),
    "simd128": frozenset({Feature.SIMD128}),
    "relaxed": frozenset({Feature.RELAXED_SIMD}),
    "madd": frozenset({Feature.RELAXED_MADD}),
    "dot": frozenset({Feature.RELAXED_DOT}),
    "threads": frozenset({Feature.ATOMICS}),
    "atomics": frozenset({Feature.ATOMICS}),
    _WIDE: frozenset(),  # runs wherever simd128 does
}


@dataclass(frozen=True, slots=True)
class ExecutableFormat:
    """A format string that this package understands.

    Attributes:
        name: The string.
        index64: Whether its kernels address memory with 64 bits.
        features: What its words ask of the engine.
        wide: Whether its tiles are for engines that merge 128-bit operations into wider ones;
            elsewhere they run, slower.
    """

    name: str
    index64: bool
    features: frozenset[Feature]
    wide: bool = False

    @staticmethod
    def parse(name: str) -> ExecutableFormat | None:
        """The format of that name; None if it is another kind or has an unknown word."""
        for prefix, index64 in _PREFIXES.items():
            if name == prefix or name.startswith(prefix + "-"):
                words = name[len(prefix) + 1 :].split("-") if len(name) > len(prefix) else []
                if any(word not in _WORDS for word in words):
                    return None
                features = frozenset().union(*(_WORDS[word] for word in words))
                return ExecutableFormat(name, index64, features, wide=_WIDE in words)
        return None

    def rank(self, engine: EngineInfo) -> tuple[bool, bool, int]:
        """Orders the formats that an engine takes: the greater, the faster are the kernels.

        Vectors count most, of whatever tiles; then tiles that suit the engine; then what else the
        kernels make use of.
        """
        suits = self.wide == (Feature.WIDE_VECTORS in engine.features)
        return Feature.SIMD128 in self.features, suits, len(self.features)


def incompatible_format_error(
    formats: list[str], engine: EngineInfo, *, index64: bool
) -> IncompatibleTargetError:
    """The error for kernels in formats that a device does not take.

    Args:
        formats: What the program has to offer.
        engine: The device's.
        index64: Whether the device's memory has 64-bit addresses.
    """
    offered = ", ".join(repr(name) for name in formats) or "none"
    expected = "system-wasm-wasm_64" if index64 else "system-wasm-wasm_32"
    native = [name for name in formats if name.startswith("embedded-elf-")]
    kind = f" (native code for {native[0].removeprefix('embedded-elf-')})" if native else ""
    return IncompatibleTargetError(
        f"the program's kernels have format {offered}{kind}; expected {expected!r}. Compile the "
        f"model for {engine.name}: {compile_command(engine, index64=index64)}"
    )
