"""Damaged modules: an error of ours, or a module that is as valid as the original was.

The reference is wasmtime's validator. Nothing that it refuses may come out of relinking as a
valid module, and no exception but ours may come out of the parser.
"""

from __future__ import annotations

import collections
import random
from typing import TYPE_CHECKING

import pytest
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st
from wasm_modules import kernel_module

from iree_wasm_hal.engine.contract import MemoryType
from iree_wasm_hal.engine.registry import open_engine
from iree_wasm_hal.errors import Error, LimitError, MalformedWasmError, WasmCompileError, WasmError
from iree_wasm_hal.wasm.relink import relink
from iree_wasm_hal.wasm.sections import read_sections

if TYPE_CHECKING:
    from collections.abc import Callable

    from wasm_plans import Kernels

MEMORY = MemoryType(16, 1024)
MUTANT_COUNT = 6000
# Bytes that mean something: LEB128 edges, end, constants, the prefixes of long opcodes.
TELLING_BYTES = (0x00, 0x01, 0x0B, 0x41, 0x7F, 0x80, 0xFC, 0xFD, 0xFE, 0xFF)


def reference_error(engine: wasmtime.Engine, wasm: bytes) -> str:
    """What wasmtime's validator says, or nothing."""
    try:
        wasmtime.Module.validate(engine, wasm)
    except wasmtime.WasmtimeError as error:
        return str(error)
    return ""


def make_engine() -> wasmtime.Engine:
    config = wasmtime.Config()
    config.wasm_threads = config.wasm_relaxed_simd = config.wasm_tail_call = True
    config.wasm_multi_memory = config.wasm_exceptions = True
    return wasmtime.Engine(config)


@pytest.fixture(scope="module")
def seeds(kernels: Callable[..., Kernels]) -> list[bytes]:
    return [kernel_module(), kernels("normalize", "").wasm, kernels("stack").wasm]


def mutate(source: random.Random, wasm: bytes) -> bytes:
    """A few bits or bytes changed, removed or inserted, half of the time near the start."""
    data = bytearray(wasm)
    for _ in range(source.choice((1, 1, 1, 2, 3, 8))):
        at = source.randrange(len(data) if source.random() < 0.5 else min(len(data), 600))
        kind = source.randrange(5)
        if kind == 0:
            data[at] ^= 1 << source.randrange(8)
        elif kind == 1:
            data[at] = source.choice(TELLING_BYTES)
        elif kind == 2:
            data[at] = source.randrange(256)
        elif kind == 3:
            del data[at : at + source.randrange(1, 5)]
        else:
            data[at:at] = bytes([source.choice(TELLING_BYTES)]) * source.randrange(1, 4)
    return bytes(data)


def test_mutants_are_refused_or_judged_as_the_original(seeds: list[bytes]) -> None:
    engine = make_engine()
    source = random.Random(20_240_229)
    outcomes: collections.Counter[str] = collections.Counter()
    for _ in range(MUTANT_COUNT):
        mutant = mutate(source, source.choice(seeds))
        try:
            relinked = relink(mutant, memory=MEMORY, atomics=False)
        except Error as error:
            outcomes[type(error).__name__] += 1
            continue
        before = reference_error(engine, mutant)
        after = reference_error(engine, relinked.wasm)
        assert bool(before) == bool(after), f"{mutant.hex()}: {before!r} became {after!r}"
        outcomes["accepted, invalid" if after else "accepted, valid"] += 1
    print(dict(outcomes))
    # Each way out is taken often; else the mutator tests nothing.
    for outcome in ("MalformedWasmError", "KernelProfileError", "accepted, invalid"):
        assert outcomes[outcome] > 50
    assert outcomes["accepted, valid"] > 50


def test_what_passes_us_but_not_the_validator_is_refused_by_the_engine(seeds: list[bytes]) -> None:
    engine = open_engine("wasmtime")
    reference = make_engine()
    source = random.Random(7)
    refused = 0
    for _ in range(1500):
        mutant = mutate(source, seeds[0])
        try:
            relinked = relink(mutant, memory=MEMORY, atomics=False)
        except Error:
            continue
        if reference_error(reference, relinked.wasm):
            with pytest.raises(WasmCompileError):
                engine.compile(relinked.wasm)
            refused += 1
    assert refused > 20


@pytest.mark.parametrize("index", range(3))
def test_every_truncation_is_refused_or_a_whole_module(seeds: list[bytes], index: int) -> None:
    engine = make_engine()
    wasm = seeds[index]
    section_ends = {section.end for section in read_sections(wasm)}
    accepted = 0
    for end in range(len(wasm)):
        try:
            relinked = relink(wasm[:end], memory=MEMORY, atomics=False)
        except WasmError:
            continue
        # Only data, names and debug information may be missing.
        assert end in section_ends
        assert not reference_error(engine, wasm[:end])
        assert not reference_error(engine, relinked.wasm)
        accepted += 1
    assert accepted < len(section_ends)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=200))
def test_bytes_after_a_header_are_refused(rest: bytes) -> None:
    with pytest.raises(WasmError):
        relink(b"\0asm\x01\0\0\0" + rest, memory=MEMORY, atomics=False)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=60))
def test_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(WasmError, match="not a wasm module"):
        relink(data, memory=MEMORY, atomics=False)


def section(section_id: int, contents: bytes) -> bytes:
    size = len(contents)
    return bytes([section_id, size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14]) + contents


HEADER = b"\0asm\x01\0\0\0"
MALFORMED = {
    "component": (b"\0asm\x0d\0\x01\0", "starts with"),
    "unknown section": (HEADER + section(14, b""), "at byte 8: unknown section id 14"),
    "repeated section": (
        HEADER + section(1, b"\0") + section(1, b"\0"),
        "TYPE section out of order or repeated",
    ),
    "shuffled sections": (
        HEADER + section(3, b"\0") + section(1, b"\0"),
        "TYPE section out of order or repeated",
    ),
    "section too long": (HEADER + b"\x01\x05\0", "section with id 1 has 5 bytes, 1 are left"),
    "section length cut": (HEADER + b"\x01\x80", "ends too early"),
    "length of six bytes": (
        HEADER + b"\x01\x80\x80\x80\x80\x80\x00",
        "integer takes more bytes than u32 may",
    ),
    "length of 33 bits": (HEADER + b"\x01\xff\xff\xff\xff\x1f", "integer does not fit u32"),
    "name that is not UTF-8": (
        HEADER + section(0, b"\x02\xff\xfe"),
        "name is not UTF-8: invalid start byte",
    ),
    "name too long": (HEADER + section(0, b"\x05ab"), "needs 5 bytes, 2 are left"),
    "too many types": (HEADER + section(1, b"\xff\xff\xff\xff\x0f"), "4294967295 types in 0 bytes"),
    "types above the limit": (
        HEADER + section(1, b"\x91\x4e" + bytes(10_001)),
        "10001 types, at most 10000 are supported",
    ),
    "bytes after the last type": (
        HEADER + section(1, b"\x01\x60\0\0\0"),
        "type section at byte 16: 1 bytes too many",
    ),
    "unknown value type": (
        HEADER + section(1, b"\x01\x60\x01\x63\0"),
        "unsupported value type 0x63",
    ),
    "bodies without functions": (
        HEADER + section(10, b"\x01\x02\0\x0b"),
        "1 function bodies for 0 functions",
    ),
    "too many locals": (
        HEADER
        + section(1, b"\x01\x60\0\0")
        + section(3, b"\x01\0")
        + section(10, b"\x01\x06\x01\xd1\x86\x03\x7f\x0b"),
        "50001 locals, at most 50000 are supported",
    ),
    "local of an unknown type": (
        HEADER
        + section(1, b"\x01\x60\0\0")
        + section(3, b"\x01\0")
        + section(10, b"\x01\x04\x01\x01\x11\x0b"),
        "unsupported value type 0x11",
    ),
    "data count": (
        HEADER + section(12, b"\x02") + section(11, b"\0"),
        "announces 2 data segments, there are 0",
    ),
    "export twice": (
        HEADER + section(7, b"\x02\x01a\0\0\x01a\0\0"),
        "export 'a' repeated",
    ),
    "limits the wrong way round": (
        HEADER + section(2, b"\x01\0\0\x02\x01\x05\x04"),
        "limits have minimum 5 above maximum 4",
    ),
    "memory beyond addresses": (
        HEADER + section(2, b"\x01\0\0\x02\0\x81\x80\x04"),
        "memory of 65537 pages, at most 65536 are possible",
    ),
    "shared memory without maximum": (
        HEADER + section(2, b"\x01\0\0\x02\x02\x01"),
        "shared memory without a maximum",
    ),
    "import of an unknown kind": (
        HEADER + section(2, b"\x01\0\0\x09\0"),
        "import of unknown kind 9",
    ),
    "constant of unknown shape": (
        HEADER + section(6, b"\x01\x7f\0\x20\0\x0b"),
        "constant expression of a shape that is not supported",
    ),
    "constant of two values": (
        HEADER + section(6, b"\x01\x7f\0\x41\0\x41\0\x0b"),
        "constant expression leaves 2 values, expected 1",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_module_is_refused_with_its_cause(name: str) -> None:
    data, message = MALFORMED[name]
    with pytest.raises(MalformedWasmError, match=message):
        relink(data, memory=MEMORY, atomics=False)


def test_module_above_the_size_limit_is_refused() -> None:
    with pytest.raises(LimitError, match="has 67108865 bytes, at most 67108864"):
        relink(HEADER + bytes((64 << 20) - 7), memory=MEMORY, atomics=False)


def test_too_many_sections_are_refused() -> None:
    with pytest.raises(MalformedWasmError, match="more than 1000 sections"):
        relink(HEADER + b"\0\x01\0" * 1001, memory=MEMORY, atomics=False)


def test_damaged_name_section_costs_the_names_only(seeds: list[bytes]) -> None:
    names = b"\0\x07\x04name\x01\x05"
    relinked = relink(seeds[0] + names, memory=MEMORY, atomics=False)
    assert not reference_error(make_engine(), relinked.wasm)
