"""Which engine features a module needs: read off its instructions and types.

The ``target_features`` section says what the compiler was *allowed* to use, which may be more; it
is kept for messages. Spec:
https://github.com/WebAssembly/tool-conventions/blob/main/Linking.md#target-features-section
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.engine.contract import Feature
from iree_wasm_hal.wasm.instructions import scan_body
from iree_wasm_hal.wasm.kernel_module import EXTERNREF, FUNCREF, V128, Limits
from iree_wasm_hal.wasm.kernel_reader import read_kernel_module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from iree_wasm_hal.wasm.binary import Reader
    from iree_wasm_hal.wasm.kernel_module import KernelModule

__all__ = ["instruction_features", "needed_features", "parse_target_features", "type_features"]

_MAX_TARGET_FEATURES = 1_000
_RELAXED_MADD = frozenset(range(0x105, 0x109))
_RELAXED_DOT = frozenset((0x112, 0x113))


def parse_target_features(reader: Reader) -> tuple[str, ...]:
    """The features of a ``target_features`` section, prefixed ``+`` or ``-``.

    Raises:
        MalformedWasmError: Cut, or a prefix that is none.
    """
    features = []
    for _ in range(reader.count("target features", _MAX_TARGET_FEATURES)):
        at = reader.offset
        prefix = chr(reader.u8())
        # "=" (required) is the form of older linkers.
        if prefix not in "+-=":
            raise reader.error(f"target feature with prefix {prefix!r}, expected + or -", at)
        features.append(prefix.replace("=", "+") + reader.name())
    reader.finish()
    return tuple(features)


def needed_features(module: bytes) -> frozenset[Feature]:
    """The features that a module's own code needs, whether or not it fits the kernel profile.

    Raises:
        MalformedWasmError: Not well-formed.
        LimitError: Too large.
    """
    kernel = read_kernel_module(module)
    memories = [entry.type for entry in kernel.imported("memory")]
    index64 = any(isinstance(memory, Limits) and memory.index64 for memory in memories)
    features = type_features(kernel) | ({Feature.MEMORY64} if index64 else set())
    for body in kernel.bodies:
        features |= instruction_features(
            scan_body(module, body.code_start, body.end, index64=index64)
        )
    return frozenset(features)


def instruction_features(instructions: Iterable[bytes]) -> frozenset[Feature]:
    """Features that instructions (`instructions.scan_body`) need."""
    features: set[Feature] = set()
    for instruction in instructions:
        features |= _BY_OPCODE.get(instruction[0], _NONE)
        special = _SPECIAL.get(instruction[0])
        if special is not None:
            features |= special(instruction)
    return frozenset(features)


def type_features(module: KernelModule) -> frozenset[Feature]:
    """Features that function, local and global types need."""
    used = {kind for body in module.bodies for kind in body.local_types}
    used.update(global_type.value_type for global_type, _ in module.globals)
    features: set[Feature] = set()
    for function_type in module.types:
        used.update(function_type.parameters, function_type.results)
        if len(function_type.results) > 1:
            features.add(Feature.MULTI_VALUE)
    if V128 in used:
        features.add(Feature.SIMD128)
    if used & {FUNCREF, EXTERNREF}:
        features.add(Feature.REFERENCE_TYPES)
    return frozenset(features)


def _simd(instruction: bytes) -> set[Feature]:
    features = {Feature.SIMD128}
    opcode = instruction[1]
    if opcode >= 0x80:
        opcode = opcode & 0x7F | instruction[2] << 7
    if opcode in _RELAXED_MADD:
        features.add(Feature.RELAXED_MADD)
    elif opcode in _RELAXED_DOT:
        features.add(Feature.RELAXED_DOT)
    elif opcode >= 0x100:
        features.add(Feature.RELAXED_SIMD)
    if opcode <= 0x0B or 0x54 <= opcode <= 0x5D:
        features |= _memory_argument(instruction[2])
    return features


def _atomic(instruction: bytes) -> set[Feature]:
    features = {Feature.ATOMICS}
    if instruction[1] != _FENCE:
        features |= _memory_argument(instruction[2])
    return features


def _prefixed(instruction: bytes) -> set[Feature]:
    opcode = instruction[1]
    if opcode < 0x08:
        return {Feature.NONTRAPPING_FPTOINT}
    features = {Feature.BULK_MEMORY if opcode < 0x0F else Feature.REFERENCE_TYPES}
    # Memory indices of copy and fill: other bytes than zero name another memory.
    if opcode in (0x0A, 0x0B) and any(instruction[2:]):
        features.add(Feature.MULTI_MEMORY)
    return features


def _memory_argument(alignment: int) -> set[Feature]:
    # Bit 6 of the alignment says that a memory index follows.
    return {Feature.MULTI_MEMORY} if alignment & 0x40 else set()


def _load_store(instruction: bytes) -> set[Feature]:
    return _memory_argument(instruction[1])


def _memory_size(instruction: bytes) -> set[Feature]:
    return {Feature.MULTI_MEMORY} if any(instruction[1:]) else set()


def _block(instruction: bytes) -> set[Feature]:
    # 0x40 is the empty type, 0x41 to 0x7f are value types, the rest type indices.
    return set() if 0x40 <= instruction[1] <= 0x7F else {Feature.MULTI_VALUE}


def _call_indirect(instruction: bytes) -> set[Feature]:
    # A table index of more than the byte 0 came with reference types.
    type_index_end = next(i for i in range(1, len(instruction)) if instruction[i] < 0x80)
    overlong = instruction[type_index_end + 1 :] != b"\0"
    return {Feature.REFERENCE_TYPES} if overlong else set()


_FENCE = 0x03
_NONE: frozenset[Feature] = frozenset()
_BY_OPCODE = {
    **dict.fromkeys(range(0xC0, 0xC5), frozenset((Feature.SIGN_EXTENSION,))),
    **dict.fromkeys((0x12, 0x13), frozenset((Feature.TAIL_CALL,))),
    **dict.fromkeys((0x1C, 0x25, 0x26), frozenset((Feature.REFERENCE_TYPES,))),
    **dict.fromkeys((0xD0, 0xD1, 0xD2), frozenset((Feature.REFERENCE_TYPES,))),
    **dict.fromkeys((*range(0x06, 0x0B), 0x18, 0x19, 0x1F), frozenset((Feature.EXCEPTIONS,))),
}
_SPECIAL: dict[int, Callable[[bytes], set[Feature]]] = {
    **dict.fromkeys((0x02, 0x03, 0x04, 0x06, 0x1F), _block),
    **dict.fromkeys((0x11, 0x13), _call_indirect),
    **dict.fromkeys(range(0x28, 0x3F), _load_store),
    **dict.fromkeys((0x3F, 0x40), _memory_size),
    0xFC: _prefixed,
    0xFD: _simd,
    0xFE: _atomic,
}
