"""The instruction scanner against wasmtime's decoder: same opcodes, same instruction boundaries."""

from __future__ import annotations

import re
import time
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
    from collections.abc import Callable

    from wasm_plans import Kernels


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


@st.composite
def instructions(draw: st.DrawFn) -> bytes:  # noqa: PLR0911, PLR0912  # one case per shape
    """An instruction that is valid where the stack is polymorphic (after unreachable)."""
    index = draw(st.sampled_from((b"\0", b"\x80\0", b"\x80\x80\x80\x80\0")))
    offset = uleb(draw(st.integers(0, (1 << 32) - 1)))
    memory = b"\0" + offset
    signed = draw(st.binary(min_size=0, max_size=4).map(lambda b: bytes(x | 0x80 for x in b)))
    kind = draw(st.integers(0, 15))
    if kind == 0:
        plain = [0x00, 0x01, 0x0F, 0x1A, *range(0x45, 0xC5)]
        return bytes([draw(st.sampled_from(plain))])
    if kind == 1:
        one_index = (0x0C, 0x0D, 0x10, 0x23, 0x24, 0x25, 0x26, 0xD2)
        return bytes([draw(st.sampled_from(one_index))]) + index
    if kind == 2:
        return bytes([draw(st.integers(0x28, 0x3E))]) + memory
    if kind == 3:
        return b"\x41" + signed + draw(st.sampled_from((b"\0", b"\x05", b"\x7f", b"\x78")))
    if kind == 4:
        return b"\x42" + signed + bytes([draw(st.integers(0, 0x7F))])
    if kind == 5:
        return b"\x43" + draw(st.binary(min_size=4, max_size=4))
    if kind == 6:
        return b"\x44" + draw(st.binary(min_size=8, max_size=8))
    if kind == 7:
        count = draw(st.one_of(st.integers(0, 12), st.integers(100, 300)))
        return b"\x0e" + uleb(count) + index * count + b"\0"
    if kind == 8:
        return b"\x11" + index + draw(st.sampled_from((b"\0", b"\x80\x80\0")))
    if kind == 9:
        return b"\x1c\x01" + bytes([draw(st.sampled_from((0x7B, 0x7C, 0x7F, 0x70)))])
    if kind == 10:
        opcode = draw(st.integers(0, 0x11))
        two, one = opcode in (8, 10, 12, 14), opcode in (9, 11, 13, 15, 16, 17)
        return bytes([0xFC, opcode]) + b"\0" * (2 * two + one)
    if kind == 11:
        opcode = draw(st.one_of(st.just(0), st.integers(0x10, 0x4E)))
        return bytes([0xFE, opcode, _natural_alignment(opcode)]) + offset
    if kind == 12:
        return b"\xfd" + bytes([draw(st.sampled_from((*range(12), 0x5C, 0x5D)))]) + memory
    if kind == 13:
        lanes = draw(st.binary(min_size=16, max_size=16))
        shuffle = draw(st.booleans())
        return b"\xfd\x0d" + bytes(x % 32 for x in lanes) if shuffle else b"\xfd\x0c" + lanes
    if kind == 14:
        lane_access = draw(st.booleans())
        opcode = draw(st.integers(0x54, 0x5B) if lane_access else st.integers(0x15, 0x22))
        return bytes([0xFD, opcode]) + (memory if lane_access else b"") + b"\0"
    simple = [*range(0x0E, 0x15), *range(0x23, 0x54), *range(0x5E, 0x9A), *range(0xE3, 0xEE)]
    return b"\xfd" + uleb(draw(st.sampled_from((*simple, *range(0xEF, 0x114)))))


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.lists(instructions(), max_size=20))
def test_same_instruction_boundaries(sequence: list[bytes]) -> None:
    code = b"".join(b"\0" + instruction for instruction in sequence) + b"\0\x0b"
    wasmtime.Module.validate(make_engine(), module_with(code))
    assert scan(code) == {*sequence, b"\0", b"\x0b"}


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
        {Feature.SIMD128, Feature.RELAXED_SIMD, Feature.RELAXED_MADD},
    ),
    "relaxed dot": (
        "v128.const i64x2 0 0 v128.const i64x2 0 0 i16x8.relaxed_dot_i8x16_i7x16_s drop",
        {Feature.SIMD128, Feature.RELAXED_SIMD, Feature.RELAXED_DOT},
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


def test_a_megabyte_is_scanned_quickly(kernels: Callable[..., Kernels]) -> None:
    wasm = kernels("matmul").wasm
    at = wasm.index(b"\xfd\x0c")  # somewhere in a function body, at an instruction
    code = wasm[at : at + 18] * (1_000_000 // 18) + b"\x20\x01\x28\x02\x10\x6a" * 100_000
    started = time.perf_counter()
    scan(code + b"\x0b")
    elapsed = time.perf_counter() - started
    print(f"scanned {len(code)} bytes in {elapsed:.3f} s")
    assert elapsed < 1.5 * len(code) / 1e6
    # What the fast pattern does not cover costs more, but stays linear.
    tables = (b"\x41\0\x0e\x80\x01" + b"\0" * 129) * 7000
    started = time.perf_counter()
    scan(tables + b"\x0b")
    assert time.perf_counter() - started < 3
