"""The validator against an independent one: wasmtime's, limited to wasm3's dialect."""

from __future__ import annotations

import itertools
import random
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest
from cffi import FFI
from iree_wasm_hal_wasm3.calibration import PROBE
from iree_wasm_hal_wasm3.validation import validate
from iree_wasm_hal_wasm3.validation.opcodes import BINARY, LOADS, NAMES, STORES, UNARY
from wasmtime import wat2wasm

from iree_wasm_hal.engine import open_engine
from iree_wasm_hal.errors import WasmCompileError

if TYPE_CHECKING:
    from collections.abc import Callable

_MUTANT_COUNT = 4000
_GLOBAL_SET = 0x24
# What wasmtime must not have; its extended constants cannot be switched off.
_ABSENT = """threads tail_call reference_types simd relaxed_simd multi_value multi_memory memory64
    function_references gc exceptions stack_switching wide_arithmetic custom_page_sizes
    component_model component_model_async"""
_CONST = {"i32": b"\x41\0", "i64": b"\x42\0", "f32": b"\x43" + bytes(4), "f64": b"\x44" + bytes(8)}


@lru_cache(maxsize=1)
def _reference() -> Callable[[bytes], bool]:
    """Whether wasmtime takes a module of the dialect."""
    setters = [f"wasmtime_config_wasm_{name}_set" for name in _ABSENT.split()]
    ffi = FFI()
    ffi.cdef(
        "void *wasm_config_new(void); void *wasm_engine_new_with_config(void *);"
        "void *wasmtime_module_validate(void *, const uint8_t *, size_t);"
        "void wasmtime_error_delete(void *);"
        + "".join(f"void {setter}(void *, bool);" for setter in setters)
    )
    engine = open_engine("wasmtime")
    lib: Any = ffi.dlopen(engine.info.library_path)
    engine.close()
    config = lib.wasm_config_new()
    for setter in setters:
        getattr(lib, setter)(config, False)
    pointer = lib.wasm_engine_new_with_config(config)

    def accepts(wasm: bytes) -> bool:
        error = lib.wasmtime_module_validate(pointer, ffi.from_buffer("uint8_t[]", wasm), len(wasm))
        if error:
            lib.wasmtime_error_delete(error)
        return not error

    return accepts


def _accepts(wasm: bytes) -> bool:
    try:
        validate(wasm)
    except WasmCompileError:
        return False
    return True


def _leb(value: int) -> bytes:
    encoded = b""
    while value >= 0x80:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])


def _section(number: int, content: bytes) -> bytes:
    return bytes([number]) + _leb(len(content)) + content


def _module(body: bytes, function_type: bytes = b"\x60\0\0", local_groups: bytes = b"\0") -> bytes:
    """A module of one function, with a memory, a table and a mutable global of each type."""
    code = local_groups + body
    constants = zip(b"\x7f\x7e\x7d\x7c", _CONST.values(), strict=True)
    globals_ = b"\4" + b"".join(bytes([kind, 1]) + each + b"\x0b" for kind, each in constants)
    return b"\0asm\1\0\0\0" + b"".join(
        (
            _section(1, b"\1" + function_type),
            _section(3, b"\1\0"),
            _section(4, b"\1\x70\0\1"),
            _section(5, b"\1\0\1"),
            _section(6, globals_),
            _section(10, b"\1" + _leb(len(code)) + code),
        )
    )


def _shipped() -> dict[str, bytes]:
    folder = resources.files("iree_wasm_hal.engine.conformance") / "modules"
    return {
        path.name: path.read_bytes() for path in folder.iterdir() if path.name.endswith(".wasm")
    }


def test_shipped_modules() -> None:
    modules = _shipped()
    accepted = {name for name, wasm in modules.items() if _accepts(wasm)}
    assert accepted == {name for name, wasm in modules.items() if _reference()(wasm)} - {
        "feature_extended_const.wasm"
    }
    assert {"memory.wasm", "traps.wasm", "loops.wasm"} <= accepted


@pytest.mark.parametrize("opcode", UNARY, ids=NAMES.get)
def test_unary_operands(opcode: int) -> None:
    for operand, index in itertools.product(_CONST.values(), range(4)):
        wasm = _module(operand + bytes([opcode, _GLOBAL_SET, index]) + b"\x0b")
        assert _accepts(wasm) == _reference()(wasm)


@pytest.mark.parametrize("opcode", BINARY, ids=NAMES.get)
def test_binary_operands(opcode: int) -> None:
    for one, other, index in itertools.product(_CONST.values(), _CONST.values(), range(4)):
        wasm = _module(one + other + bytes([opcode, _GLOBAL_SET, index]) + b"\x0b")
        assert _accepts(wasm) == _reference()(wasm)


@pytest.mark.parametrize("opcode", [*LOADS, *STORES], ids=NAMES.get)
def test_loads_and_stores(opcode: int) -> None:
    for value, alignment in itertools.product(_CONST.values(), range(5)):
        access = bytes([opcode, alignment, 7])
        for body in (value + access + b"\x1a", b"\x41\0" + value + access, value + access):
            wasm = _module(body + b"\x0b")
            assert _accepts(wasm) == _reference()(wasm)


@pytest.mark.parametrize("opcode", range(256))
def test_every_opcode(opcode: int) -> None:
    """After unreachable code any operands do; with each of several immediates."""
    for immediates in (b"", b"\0", b"\1", b"\0\0", b"\x40\x0b", b"\x7f\x0b", b"\4", bytes(8)):
        wasm = _module(b"\0" + bytes([opcode]) + immediates + b"\x0b")
        if opcode == 0x11 and immediates[:2] == b"\0\0":  # call_indirect of type 0
            assert _accepts(wasm)
        # Of the instructions after 0xFC, wasm3 lacks some that wasmtime has.
        assert _accepts(wasm) == _reference()(wasm) or (opcode == 0xFC and not _accepts(wasm))


def test_mutants() -> None:
    """What the validator takes, wasmtime takes; and nearly the reverse."""
    rng = random.Random(20)
    seeds = [wasm for wasm in _shipped().values() if _accepts(wasm)] + [PROBE]
    accepted = 0
    for _ in range(_MUTANT_COUNT):
        mutant = _mutate(rng.choice(seeds), rng)
        valid = _accepts(mutant)
        accepted += valid
        assert valid <= _reference()(mutant), mutant.hex()
    assert _MUTANT_COUNT // 20 < accepted < _MUTANT_COUNT


def _mutate(wasm: bytes, rng: random.Random) -> bytes:
    code = bytearray(wasm)
    for _ in range(rng.choice((1, 1, 2, 3))):
        one, other = rng.randrange(8, len(code)), rng.randrange(8, len(code))
        kind = rng.randrange(5)
        if kind == 0:
            code[one] = rng.choice(b"\0\1\2\3\4\5\x0b\x0c\x0d\x0e\x0f\x10\x11\x1a\x1b\x20\x21\x22")
        elif kind == 1:
            code[one] = rng.choice(b"\x28\x36\x40\x41\x42\x45\x6a\x70\x7c\x7d\x7e\x7f\x80\xfc\xff")
        elif kind == 2:
            code[one] ^= 1 << rng.randrange(8)
        elif kind == 3:
            code[one], code[other] = code[other], code[one]
        else:
            del code[one]
            code.insert(other, rng.randrange(256))
    return bytes(code)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(func $f (result i32) (i64.const 0))", r"function 0 \(f\), end: expected i32, found i64"),
        ("(func (drop))", r"function 0, drop: expected a value, found nothing"),
        ("(func (i32.add (i32.const 1) (f32.const 1)) drop)", r"i32.add: expected i32, found f32"),
        ("(func (i32.const 1))", r"end: 1 values too many in the block"),
        ("(func (local.set 3 (i32.const 1)))", r"local.set: local 3 of 0"),
        ("(func (local.get 3) drop)", r"local.get: local 3 of 0"),
        ("(func (i32.load (i32.const 0)) drop)", r"i32.load: there is no memory"),
        ("(memory 1) (func (i32.load align=8 (i32.const 0)) drop)", r"2\*\*3 is larger"),
        ("(func (global.get 0) drop)", r"global.get: global 0 of 0"),
        ("(global i32 (i32.const 0)) (func (global.set 0 (i32.const 1)))", r"0 is immutable"),
        ("(func (br 7))", r"br: label 7 of 1"),
        ("(func (call 7))", r"call: function 7 of 1"),
        ("(type $t (func)) (func (call_indirect (type $t) (i32.const 0)))", r"there is no table"),
        ("(func (if (result i32) (i32.const 1) (then (i32.const 1))) drop)", r"if without else"),
        ("(func (select (i32.const 1) (f32.const 1) (i32.const 1)) drop)", r"are i32 and f32"),
        ("(func (memory.copy (i32.const 1) (i32.const 1) (i32.const 1)))", r"there is no memory"),
        ("(func (v128.const i32x4 0 0 0 0) drop)", r"opcode 0xfd: wasm3 does not have"),
        ("(func (result i32 i32) unreachable)", r"type section: 2 results"),
        ("(func (param externref))", r"type section: a value type that wasm3 does not have"),
        ("(func (return_call 0))", r"opcode 0x12: wasm3 does not have this instruction"),
        ('(memory 1) (data "") (func (data.drop 0))', r"instruction 0xfc 0x09"),
        ("(memory 1 1 shared)", r"memory section: limits of form 0x03"),
        ("(memory i64 1)", r"memory section: limits of form 0x04"),
        ("(memory 1) (memory 1)", r"2 memories; at most one"),
        ("(memory 65537)", r"the largest is 65536"),
        ("(table 2 1 funcref)", r"size from 2 to 1"),
        ("(table 1 externref)", r"table section: the element type is not funcref"),
        (
            '(memory 1) (export "a" (memory 0)) (export "a" (memory 0))',
            r"duplicate export name",
        ),
        ("(func (param i32)) (start 0)", r"start section: function 0 has parameters"),
        ("(global i32 (i64.const 0))", r"constant of type i64; expected i32"),
        ("(global i32 (i32.add (i32.const 0) (i32.const 0)))", r"more than one instruction"),
        ("(table 1 funcref) (elem func)", r"an element segment of a form"),
        ('(import "m" "t" (tag))', r"unknown kind of import 0x04"),
        ("(tag)", r"section 13 is none that wasm3 knows"),
    ],
)
def test_messages(text: str, message: str) -> None:
    wasm = bytes(wat2wasm(f"(module {text})"))
    with pytest.raises(WasmCompileError, match=rf"{message}.*byte offset 0x"):
        validate(wasm)


def _corrupt(wasm: bytes, before: bytes, after: bytes) -> bytes:
    assert wasm.count(before) == 1
    return wasm.replace(before, after)


_EMPTY = _module(b"\x0b")
_BODY = len(_EMPTY) - 1


@pytest.mark.parametrize(
    ("wasm", "message"),
    [
        (b"", "wrong header"),
        (b"\0asm\2\0\0\0", "wrong header"),
        (b"\0asm\1\0\0\0\1", "module: unexpected end"),
        (b"\0asm\1\0\0\0\1\x80", "module: unexpected end"),
        (b"\0asm\1\0\0\0\1\5\0", "module: unexpected end"),
        (b"\0asm\1\0\0\0\1\x80\x80\x80\x80\x80\0", "representation too long"),
        (b"\0asm\1\0\0\0\1\x80\x80\x80\x80\x10", "integer too large for 32 bits"),
        (b"\0asm\1\0\0\0\0\2\1\xff", "malformed UTF-8"),
        (b"\0asm\1\0\0\0\3\1\0\1\1\0", "section 1 is out of order"),
        (b"\0asm\1\0\0\0\1\1\0\1\1\0", "section 1 is out of order or there twice"),
        (b"\0asm\1\0\0\0\1\2\0\0", "type section: 1 bytes too many"),
        (b"\0asm\1\0\0\0\1\2\x7f\0", "127 types announced"),
        (b"\0asm\1\0\0\0\1\4\1\x5f\0\0", "0x5f is no function type"),
        (b"\0asm\1\0\0\0\x0c\1\1", "0 data segments, but 1 in the data count"),
        (_EMPTY[: _EMPTY.index(b"\x0a\4\1")], "1 functions declared, but 0 bodies"),
        (_corrupt(_EMPTY, b"\x0a\4\1\2\0\x0b", b"\x0a\4\1\2\0\1"), "unexpected end of the body"),
        (_corrupt(_EMPTY, b"\x0a\4\1\2\0\x0b", b"\x0a\5\1\3\0\x0b\1"), "1 bytes after the body"),
        (
            _module(b"\x41\x80\x80\x80\x80\x70\x1a\x0b"),
            rf"^function 0, i32.const: integer too large for 32 bits \(at .* {_BODY:#x}\)$",
        ),
        (_module(b"\x41\xff\xff\xff\xff\x7f\x1a\x0b"), None),
        (_module(b"\x42\x80\x80\x80\x80\x80\x80\x80\x80\x80\1\x1a\x0b"), "too large for 64 bits"),
        (_module(b"\x0e\xff\xff\xff\xff\x0f\0\x0b"), "targets announced"),
        (_module(b"\0\xfc\x8a\0\0\0\x0b"), "does not have the instruction 0xfc 0x8a"),
        (_module(b"\x0b", local_groups=b"\1\xff\xff\xff\xff\x0f\x7f"), "more than 50000 locals"),
        (_module(b"\x0b", local_groups=b"\1\1\x7b"), "invalid local type 0x7b"),
    ],
)
def test_malformed(wasm: bytes, message: str | None) -> None:
    assert (message is None) == _reference()(wasm) or b"\xfc\x8a" in wasm
    if message is None:
        validate(wasm)
    else:
        with pytest.raises(WasmCompileError, match=message):
            validate(wasm)


@pytest.mark.parametrize(
    ("body", "function_type", "message"),
    [
        (b"\2\x40" * 1001 + b"\x0b" * 1002, b"\x60\0\0", r"nested deeper than 1000"),
        (
            b"\x41\0" * 1990 + b"\2\x40\x0b" + b"\x1a" * 1990 + b"\x0b",
            b"\x60\0\0",
            r"values at once",
        ),
        (b"\x20\0" + b"\x10\0" * 1990 + b"\x0b", b"\x60\1\x7f\1\x7f", r"may need 4\d+ slots"),
    ],
    ids=["nesting", "height", "chain_of_calls"],
)
def test_wasm3s_own_limits(body: bytes, function_type: bytes, message: str) -> None:
    """Valid, but more than wasm3's arrays hold."""
    wasm = _module(body, function_type)
    assert _reference()(wasm)
    with pytest.raises(WasmCompileError, match=message):
        validate(wasm)


def test_numbers_that_wasm3_cannot_take() -> None:
    types = {"1001 parameters": b"\1\x60" + _leb(1001) + b"\x7f" * 1001 + b"\0"}
    types["10001 types"] = _leb(10_001) + b"\x60\0\0" * 10_001
    for message, content in types.items():
        with pytest.raises(WasmCompileError, match=message):
            validate(b"\0asm\1\0\0\0" + _section(1, content))


def test_dead_code_is_found() -> None:
    wasm = _module(b"\2\x40\x0c\0\x41\1\x1a\x0b" + b"\0\3\x40\0\1\x0b" + b"\x0b")
    start = wasm.index(b"\x41\1\x1a")
    ranges = validate(wasm).dead_code
    assert (start, start + 3) in ranges
    outer = wasm.index(b"\3\x40\0\1")
    assert (outer, outer + 5) in ranges


def test_damaged_name_section_is_harmless() -> None:
    wasm = bytes(wat2wasm("(module (func $f))"))
    assert validate(wasm).function_names == {0: "f"}
    count = wasm.index(b"name\1") + 6
    assert validate(wasm[:count] + b"\x7f" + wasm[count + 1 :]).function_names == {}
