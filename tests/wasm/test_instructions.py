"""The instruction scanner against wasmtime's decoder: same opcodes, same instruction boundaries."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st
from wasm_modules import IMPORTS, QUERY, assemble, uleb

from iree_wasm_hal.engine.contract import Feature
from iree_wasm_hal.errors import MalformedWasmError
from iree_wasm_hal.wasm.features import instruction_features, needed_features
from iree_wasm_hal.wasm.instructions import scan_body

if TYPE_CHECKING:
    from collections.abc import Iterable


def make_engine() -> wasmtime.Engine:
    config = wasmtime.Config()
    config.wasm_threads = config.wasm_relaxed_simd = config.wasm_tail_call = True
    config.wasm_multi_memory = config.wasm_exceptions = config.wasm_memory64 = True
    return wasmtime.Engine(config)


def section(section_id: int, contents: bytes) -> bytes:
    return bytes([section_id]) + uleb(len(contents)) + contents


def module_with(code: bytes, memory_flags: int = 0) -> bytes:
    """One function of type () -> () with everything that an instruction may name at index 0."""
    body = b"\0" + code
    return b"".join(
        (
            b"\0asm\1\0\0\0",
            section(1, b"\x01\x60\x00\x00"),
            section(3, b"\x01\x00"),
            section(4, b"\x01\x70\x00\x01"),
            section(5, b"\x01" + bytes([memory_flags]) + b"\x01"),
            section(6, b"\x01\x7f\x01\x41\x00\x0b"),
            section(9, b"\x01\x00\x41\x00\x0b\x01\x00"),
            section(12, b"\x01"),
            section(10, b"\x01" + uleb(len(body)) + body),
            section(11, b"\x01\x01\x00"),
        )
    )


def decoder_accepts(engine: wasmtime.Engine, wasm: bytes) -> bool:
    """Whether wasmtime knows the instructions, well typed or not."""
    try:
        wasmtime.Module.validate(engine, wasm)
    except wasmtime.WasmtimeError as error:
        return not re.search("illegal opcode|unknown 0x|support is not enabled", str(error))
    return True


def scan(code: bytes, *, index64: bool = False) -> set[bytes]:
    return scan_body(code, 0, len(code), index64=index64)


OPCODES = [
    *(bytes([opcode]) for opcode in range(0xFB)),
    bytes([0xFF]),
    *(b"\xfc" + uleb(opcode) for opcode in range(0x40)),
    *(b"\xfd" + uleb(opcode) for opcode in range(0x180)),
    *(b"\xfe" + uleb(opcode) for opcode in range(0x80)),
]
# wasmtime knows these: typed function references and wide arithmetic, which no kernel has, and
# select with a vector of no type, which it refuses later.
UNSUPPORTED = {
    *(b"\x14", b"\x15", b"\xd3", b"\xd4", b"\xd5", b"\xd6", b"\x1c"),
    *(b"\xfc\x13", b"\xfc\x14", b"\xfc\x15", b"\xfc\x16"),
}
# Legacy exceptions, which wasmtime knows by name only.
LEGACY = {b"\x09"}


def test_same_opcodes_are_known() -> None:
    engine = make_engine()
    for opcode in OPCODES:
        code = opcode + bytes(24) + b"\x0b"
        try:
            scan(code)
            known = True
        except MalformedWasmError:
            known = False
        expected = decoder_accepts(engine, module_with(code)) and opcode not in UNSUPPORTED
        assert known == (expected or opcode in LEGACY), opcode.hex()


def _natural_alignment(atomic_opcode: int) -> int:
    if atomic_opcode < 0x10:
        return (2, 2, 3)[atomic_opcode]
    # i32, i64, i32 8, i32 16, i64 8, i64 16, i64 32, for load, store and each operation.
    return (2, 3, 0, 1, 0, 1, 2)[(atomic_opcode - 0x10) % 7]


def _one_of_bytes(values: Iterable[int]) -> st.SearchStrategy[bytes]:
    return st.sampled_from([bytes([value]) for value in values])


def _concatenated(*parts: st.SearchStrategy[bytes] | bytes) -> st.SearchStrategy[bytes]:
    strategies = (st.just(part) if isinstance(part, bytes) else part for part in parts)
    return st.tuples(*strategies).map(b"".join)


INDEX = st.sampled_from((b"\0", b"\x80\0", b"\x80\x80\x80\x80\0"))
OFFSET = st.integers(0, (1 << 32) - 1).map(uleb)
MEMORY = _concatenated(b"\0", OFFSET)
CONTINUED = st.binary(max_size=4).map(lambda data: bytes(byte | 0x80 for byte in data))
BRANCH_COUNTS = st.one_of(st.integers(0, 12), st.integers(100, 300))
SIMPLE_SIMD = (
    *(*range(0x0E, 0x15), *range(0x23, 0x54), *range(0x5E, 0x9A)),
    *(*range(0xE3, 0xEE), *range(0xEF, 0x114)),
)
# Indices that follow an opcode with prefix 0xfc.
BULK_INDICES = {**dict.fromkeys((8, 10, 12, 14), 2), **dict.fromkeys((9, 11, 13, 15, 16, 17), 1)}
# Instructions that are valid where the stack is polymorphic (after unreachable).
INSTRUCTIONS: st.SearchStrategy[bytes] = st.one_of(
    _one_of_bytes((0x00, 0x01, 0x0F, 0x1A, *range(0x45, 0xC5))),
    _concatenated(_one_of_bytes((0x0C, 0x0D, 0x10, 0x23, 0x24, 0x25, 0x26, 0xD2)), INDEX),
    _concatenated(_one_of_bytes(range(0x28, 0x3F)), MEMORY),
    _concatenated(b"\x41", CONTINUED, _one_of_bytes((0x00, 0x05, 0x7F, 0x78))),
    _concatenated(b"\x42", CONTINUED, _one_of_bytes(range(0x80))),
    _concatenated(b"\x43", st.binary(min_size=4, max_size=4)),
    _concatenated(b"\x44", st.binary(min_size=8, max_size=8)),
    st.tuples(BRANCH_COUNTS, INDEX).map(lambda x: b"\x0e" + uleb(x[0]) + x[1] * x[0] + b"\0"),
    _concatenated(b"\x11", INDEX, st.sampled_from((b"\0", b"\x80\x80\0"))),
    _concatenated(b"\x1c\x01", _one_of_bytes((0x7B, 0x7C, 0x7F, 0x70))),
    st.integers(0, 0x11).map(lambda x: bytes([0xFC, x]) + b"\0" * BULK_INDICES.get(x, 0)),
    st.tuples(st.sampled_from((0, *range(0x10, 0x4F))), OFFSET).map(
        lambda x: bytes([0xFE, x[0], _natural_alignment(x[0])]) + x[1]
    ),
    _concatenated(b"\xfd", _one_of_bytes((*range(12), 0x5C, 0x5D)), MEMORY),
    _concatenated(b"\xfd\x0c", st.binary(min_size=16, max_size=16)),
    st.lists(st.integers(0, 31), min_size=16, max_size=16).map(lambda x: b"\xfd\x0d" + bytes(x)),
    _concatenated(b"\xfd", _one_of_bytes(range(0x54, 0x5C)), MEMORY, b"\0"),
    _concatenated(b"\xfd", _one_of_bytes(range(0x15, 0x23)), b"\0"),
    st.sampled_from(SIMPLE_SIMD).map(lambda x: b"\xfd" + uleb(x)),
)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.lists(INSTRUCTIONS, max_size=20))
def test_same_instruction_boundaries(sequence: list[bytes]) -> None:
    code = b"".join(b"\0" + instruction for instruction in sequence) + b"\0\x0b"
    wasmtime.Module.validate(make_engine(), module_with(code))
    assert scan(code) == {*sequence, b"\0", b"\x0b"}


def test_bodies_longer_than_a_window_are_split_at_instructions() -> None:
    # Constants that look like other instructions when they are cut.
    load = b"\xfd\x0c" + b"\x41\xff\x0e\x20" * 4
    table = b"\x0e\x07" + b"\x80\x80\x80\x80\0" * 8
    for padding in range(60):
        code = b"\x01" * padding + (load + table) * 12_000 + b"\x0b"
        assert scan(code) == {load, table, b"\x0b", *([b"\x01"] if padding else [])}
    with pytest.raises(MalformedWasmError, match=r"unknown or incomplete instruction"):
        scan((load + table) * 12_000 + b"\xff\x0b")
    with pytest.raises(MalformedWasmError, match=r"does not end with an end instruction"):
        scan((load + table) * 12_000)


def test_memory64_offsets_have_64_bits() -> None:
    load = b"\x28\x02" + uleb(1 << 40)
    code = b"\0" + load + b"\0\x0b"
    wasmtime.Module.validate(make_engine(), module_with(code, memory_flags=4))
    assert load in scan(code, index64=True)
    with pytest.raises(MalformedWasmError, match=r"unknown or incomplete instruction"):
        scan(code)


BAD_CODE = {
    "no end": (b"\x01", "does not end with an end instruction"),
    "empty": (b"", "does not end with an end instruction"),
    "cut constant": (b"\x41\x80\x80", "unknown or incomplete instruction"),
    "end inside a constant": (b"\x41\x80\x0b", "does not end with an end instruction"),
    "cut float": (b"\x44\0\0\0\x0b", r"unknown or incomplete instruction .bytes 44"),
    "integer too long": (b"\x41\x80\x80\x80\x80\x80\0\x0b", "unknown or incomplete"),
    "integer too large": (b"\x20\xff\xff\xff\xff\x10\x0b", "unknown or incomplete"),
    "lane out of range": (b"\xfd\x0d" + b"\x20" * 16 + b"\x0b", "unknown or incomplete"),
    "branch table too large": (b"\x0e\xff\xff\x03\0\0\x0b", "65535 branch targets in 3 bytes"),
    "branch table cut": (b"\x0e\x20" + b"\0" * 31 + b"\x0b", "ends too early"),
    "alignment too large": (b"\x28\x80\x01\0\x0b", "unknown or incomplete"),
    "catch clause": (b"\x1f\x40\x01\x09\0\0\x0b", "unknown catch clause 9"),
}


@pytest.mark.parametrize("name", BAD_CODE)
def test_bad_code_is_refused(name: str) -> None:
    code, message = BAD_CODE[name]
    with pytest.raises(MalformedWasmError, match=message):
        scan(code)


FEATURES: dict[str, tuple[str, set[Feature]]] = {
    "none": ("local.get 0 i32.const 1 i32.add drop", set()),
    "sign extension": ("local.get 0 i32.extend8_s drop", {Feature.SIGN_EXTENSION}),
    "saturation": ("f32.const 1 i32.trunc_sat_f32_s drop", {Feature.NONTRAPPING_FPTOINT}),
    "fill": ("local.get 0 local.get 0 local.get 0 memory.fill", {Feature.BULK_MEMORY}),
    "copy": ("local.get 0 local.get 0 local.get 0 memory.copy", {Feature.BULK_MEMORY}),
    "simd": ("local.get 0 v128.load drop", {Feature.SIMD128}),
    "simd local": ("(local v128)", {Feature.SIMD128}),
    "relaxed madd": (
        "v128.const i64x2 0 0 v128.const i64x2 0 0 v128.const i64x2 0 0 f32x4.relaxed_madd drop",
        {Feature.SIMD128, Feature.RELAXED_MADD},
    ),
    "relaxed dot": (
        "v128.const i64x2 0 0 v128.const i64x2 0 0 i16x8.relaxed_dot_i8x16_i7x16_s drop",
        {Feature.SIMD128, Feature.RELAXED_DOT},
    ),
    "relaxed swizzle": (
        "v128.const i64x2 0 0 v128.const i64x2 0 0 i8x16.relaxed_swizzle drop",
        {Feature.SIMD128, Feature.RELAXED_SIMD},
    ),
    "atomics": ("local.get 0 i32.atomic.load drop", {Feature.ATOMICS}),
    "fence": ("atomic.fence", {Feature.ATOMICS}),
    "tail call": ("local.get 0 return_call $f", {Feature.TAIL_CALL}),
    "references": ("ref.null func drop", {Feature.REFERENCE_TYPES}),
    "reference local": ("(local externref)", {Feature.REFERENCE_TYPES}),
    "many results": (
        "(block (result i32 i32) local.get 0 local.get 0) drop drop",
        {Feature.MULTI_VALUE},
    ),
    "block parameter": ("local.get 0 (block (param i32) drop)", {Feature.MULTI_VALUE}),
    "block": ("(block local.get 0 br_if 0) (loop) (if (local.get 0) (then))", set()),
}


@pytest.mark.parametrize("name", FEATURES)
def test_features_of_code(name: str) -> None:
    code, features = FEATURES[name]
    wasm = assemble(f"{IMPORTS}{QUERY} (func $f (param i32) {code})")
    assert needed_features(wasm) == features


def test_features_of_forms_without_text() -> None:
    assert instruction_features([b"\x28\x40\0\0"]) == {Feature.MULTI_MEMORY}
    assert instruction_features([b"\xfd\x00\x44\x01\0"]) == {Feature.SIMD128, Feature.MULTI_MEMORY}
    assert instruction_features([b"\x3f\x01"]) == {Feature.MULTI_MEMORY}
    assert instruction_features([b"\x11\0\x80\x80\x80\x80\0"]) == {Feature.REFERENCE_TYPES}
    assert instruction_features([b"\x1f\x40\0"]) == {Feature.EXCEPTIONS}
