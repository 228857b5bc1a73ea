"""What the engine can do, and what to say of a module that it cannot compile.

The features are those of the compiler, which is not opened to ask it: loading a compiled program
needs no LLVM. The conformance suite asks it, feature by feature.
"""

from __future__ import annotations

from iree_wasm_hal.engine import Feature
from iree_wasm_hal.engine.known_engines import KNOWN_ENGINES
from iree_wasm_hal_wamr_aot.module_reader import Reader
from iree_wasm_hal_wamr_aot.widths import NARROW

NOTES = {
    Feature.MULTI_MEMORY: "WAMR's compiler addresses one memory",
    Feature.EXCEPTIONS: "WAMR's compiler has none; its classic interpreter has",
    Feature.WIDE_VECTORS: "its vectors have 128 bits, because of the CPU, the option vector_bits, "
    "or an LLVM before 22",
}
"""Why a feature is missing, where it is."""
_MISSING = frozenset(NOTES) - {Feature.WIDE_VECTORS}

_HEADER_BYTE_LENGTH = 8
_IMPORTS, _MEMORIES, _TAGS = 2, 5, 13


def engine_features(vector_bits: int) -> frozenset[Feature]:
    """Features of an engine whose vectors are that wide."""
    wide = {Feature.WIDE_VECTORS} if vector_bits > NARROW else set[Feature]()
    return frozenset(Feature) - _MISSING - {Feature.WIDE_VECTORS} | wide


def refusal(wasm: bytes, version: str, reason: str) -> str:
    """The message for a module that is not compiled.

    Args:
        wasm: The module.
        version: WAMR's.
        reason: The compiler's words.
    """
    message = f"wamr-aot {version} cannot compile the module ({len(wasm)} bytes): {reason}"
    for feature in _missing_features(wasm):
        able = [name for name, features in KNOWN_ENGINES.items() if feature in features]
        message += (
            f". It needs {feature.value}, which wamr-aot lacks ({NOTES[feature]}). "
            f"Engines that have it: {', '.join(able)}"
        )
    return message


def _missing_features(wasm: bytes) -> list[Feature]:
    """What a module needs, by its sections, that the compiler has not; it may be malformed."""
    found = []
    memory_count = 0
    reader = Reader(wasm, _HEADER_BYTE_LENGTH)
    try:
        while not reader.at_end:
            section, byte_length = reader.byte(), reader.u32()
            end = reader.offset + byte_length
            if section == _MEMORIES:
                memory_count += reader.u32()
            elif section == _TAGS:
                found.append(Feature.EXCEPTIONS)
            reader.offset = end
    except IndexError:
        return []
    return found + [Feature.MULTI_MEMORY] * (memory_count > 1)
