"""Merged vectors compute what narrow ones do: the same memory as on wasmtime, at every width."""

from __future__ import annotations

import random

import pytest
from iree_wasm_hal_wamr_aot.compiler_library import read_record
from iree_wasm_hal_wamr_aot.library import load_library
from iree_wasm_hal_wamr_aot.widths import choose_vector_bits
from wasmtime import wat2wasm

from iree_wasm_hal.engine import Engine, MemoryType, open_engine

_MEMORY = MemoryType(3, 3)
_START = 65536
_BYTE_LENGTH = 4096


def _load(byte_offset: int, pointer: str = "$p") -> str:
    return f"(v128.load offset={byte_offset} (local.get {pointer}))"


def _store(byte_offset: int, value: str, pointer: str = "$q") -> str:
    return f"(v128.store offset={byte_offset} (local.get {pointer}) {value})"


def _unary(name: str) -> str:
    loads = (f"({name} {_load(16 * part)})" for part in range(4))
    return "".join(_store(16 * part, value) for part, value in enumerate(loads))


def _binary(name: str) -> str:
    values = (f"({name} {_load(16 * part)} {_load(256 + 16 * part)})" for part in range(4))
    kept = "".join(f"(local.set $v{part} {value})" for part, value in enumerate(values))
    stores = (_store(16 * part, f"(local.get $v{part})") for part in (2, 1, 0, 3))
    return kept + "".join(stores)


def _kept_in_order() -> str:
    """Each store may change what the next load reads."""
    values = (f"(i32x4.add {_load(16 * part)} {_load(64)})" for part in range(8))
    return "".join(_store(16 * part, value) for part, value in enumerate(values))


def _added_constants() -> str:
    """Neighbours whose places are sums, in part of large and of negative constants."""
    places = [f"(i32.add (local.get $q) (i32.const {place}))" for place in (496, 512, -16, 70000)]
    loads = [f"(v128.load (i32.add (local.get $p) (i32.const {32 + 16 * at})))" for at in range(4)]
    return "".join(
        f"(v128.store {place} (f32x4.mul {load} {_load(0)}))"
        for place, load in zip(places, loads, strict=True)
    )


def _accumulators() -> str:
    """A register tile of two rows, which are stored far apart."""
    steps = "".join(
        f"(local.set $v{row * 2 + column} (f32x4.add (local.get $v{row * 2 + column}) (f32x4.mul "
        f"(v128.load32_splat offset={4 * row} (local.get $p)) {_load(128 + 16 * column)})))"
        for row in range(2)
        for column in range(2)
    )
    stores = "".join(
        _store(512 * (at // 2) + 16 * (at % 2), f"(local.get $v{at})") for at in range(4)
    )
    return f"""(loop $again {steps} (local.set $p (i32.add (local.get $p) (i32.const 64)))
      (br_if $again (i32.lt_u (local.get $p) (i32.const {_START + 1024})))) {stores}"""


_LANES = " ".join(map(str, (3, 2, 1, 0, 19, 18, 17, 16, 8, 24, 9, 25, 31, 0, 15, 16)))
_KERNELS = {
    **{
        name: _binary(name)
        for name in (
            "i32x4.dot_i16x8_s",
            "i16x8.extmul_low_i8x16_s",
            "i16x8.extmul_high_i8x16_u",
            "i32x4.extmul_low_i16x8_s",
            "i32x4.extmul_high_i16x8_u",
            "i8x16.narrow_i16x8_u",
            "i16x8.narrow_i32x4_s",
            "i16x8.q15mulr_sat_s",
            "i8x16.swizzle",
            f"i8x16.shuffle {_LANES}",
            "f32x4.pmin",
            "i8x16.avgr_u",
            "i32x4.gt_s",
        )
    },
    **{
        name: _unary(name)
        for name in (
            "i16x8.extadd_pairwise_i8x16_s",
            "i16x8.extadd_pairwise_i8x16_u",
            "i32x4.extadd_pairwise_i16x8_s",
            "i32x4.extadd_pairwise_i16x8_u",
            "i16x8.extend_high_i8x16_s",
            "i32x4.abs",
            "i32x4.trunc_sat_f32x4_u",
        )
    },
    "kept in order": _kept_in_order(),
    "added constants": _added_constants(),
    "accumulators": _accumulators(),
}


def _widths() -> list[int]:
    """Those that this machine's CPU and the compiler have."""
    widest = choose_vector_bits(None, load_library().cpu_features, read_record())
    return [bits for bits in (128, 256, 512) if bits <= widest]


def _module(body: str) -> bytes:
    text = f"""(module (import "env" "memory" (memory 3 3)) (func (export "f") (param $p i32)
      (param $q i32) (local $v0 v128) (local $v1 v128) (local $v2 v128) (local $v3 v128) {body}))"""
    return bytes(wat2wasm(text))


def _memory_after(engine: Engine, wasm: bytes, start: bytes, places: tuple[int, int]) -> bytes:
    memory = engine.create_memory(_MEMORY)
    memory.view()[_START : _START + _BYTE_LENGTH] = start
    engine.instantiate(engine.compile(wasm), memory).function("f")(*places)
    return bytes(memory.view())


@pytest.mark.parametrize("name", _KERNELS)
def test_same_memory_as_wasmtime(name: str) -> None:
    """Apart, overlapping by less than a vector, and in place."""
    chance = random.Random(name)
    wasm = _module(_KERNELS[name])
    start = bytes(chance.choices((0x00, 0x3F, 0x7F, 0x80, 0xBF, 0xC1, 0x12), k=_BYTE_LENGTH))
    for gap in (0, 8, 16, 48, 2048):
        places = _START + 64, _START + 64 + gap
        expected = _memory_after(open_engine("wasmtime"), wasm, start, places)
        for width in _widths():
            engine = open_engine("wamr-aot", vector_bits=width)
            assert _memory_after(engine, wasm, start, places) == expected, (gap, width)


def test_neighbours_are_merged() -> None:
    """Of four operations one is left, unless each may change what the next one reads."""
    if _widths() == [128]:
        pytest.skip("vectors have 128 bits on this CPU, or with this LLVM")
    narrow, wide = (open_engine("wamr-aot", vector_bits=bits) for bits in (128, max(_widths())))

    def saved_byte_length(name: str) -> int:
        images = [one.compile(_module(_KERNELS[name])).serialize() for one in (narrow, wide)]
        return len(images[0]) - len(images[1])

    assert saved_byte_length("i32x4.dot_i16x8_s") > 0
    assert saved_byte_length("i32x4.gt_s") > 0
    assert saved_byte_length("kept in order") <= 0
