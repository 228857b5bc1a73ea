"""The compiler library: what it compiles, what it refuses, and that its code is as safe as wasm."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from iree_wasm_hal_wamr_aot import compiler_library
from iree_wasm_hal_wamr_aot.c_api import MESSAGE_CAPACITY, ffi, message_text
from wasmtime import wat2wasm

from iree_wasm_hal.engine import MemoryType, TrapKind, open_engine
from iree_wasm_hal.errors import TrapError, WasmCompileError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FEATURES = "+sse,+sse2,+sse3,+ssse3,+sse4.1"
MEMORY = '(import "env" "memory" (memory 1 4))'
PAGES = MemoryType(1, 4)


def compile_part(
    wasm: bytes, wanted: bytes, *, features: str = FEATURES, vector_bits: int = 128
) -> bytes:
    """One call of the compiler; raises ValueError with its message."""
    lib = compiler_library.load_compiler().lib
    message = ffi.new("char[]", MESSAGE_CAPACITY)
    module = lib.iwh_aotc_module_load(wasm, len(wasm), message, MESSAGE_CAPACITY)
    if not module:
        raise ValueError(message_text(message))
    module = ffi.gc(module, lib.iwh_aotc_module_release)
    texts = [ffi.new("char[]", text.encode()) for text in (features, "")]
    options = ffi.new("iwh_aotc_options *", [*texts, vector_bits, False])
    image = ffi.new("iwh_aotc_buffer **")
    outcome = lib.iwh_aotc_compile(module, options, wanted, image, message, MESSAGE_CAPACITY)
    if outcome != lib.IWH_AOTC_COMPILED:
        raise ValueError(message_text(message))
    buffer = ffi.gc(image[0], lib.iwh_aotc_buffer_release)
    return bytes(
        ffi.buffer(lib.iwh_aotc_buffer_data(buffer), lib.iwh_aotc_buffer_byte_length(buffer))
    )


def run(
    text: str, memory_type: MemoryType = PAGES, bounds_checks: str = "guard"
) -> Callable[[str], Callable[..., int | None]]:
    """Compiles a module and gives its exported functions."""
    engine = open_engine("wamr-aot", bounds_checks=bounds_checks)
    program = engine.compile(bytes(wat2wasm(text)))
    return engine.instantiate(program, engine.create_memory(memory_type)).function


def _leb(value: int) -> bytes:
    encoded = b""
    while value > 127:
        encoded, value = encoded + bytes([value & 127 | 128]), value >> 7
    return encoded + bytes([value])


def _module_with_body(body: bytes) -> bytes:
    """A module of one function (i32) -> i32, exported as f."""
    sections = {
        1: b"\1\x60\1\x7f\1\x7f",
        2: b"\1\3env\6memory\2\1\1\4",
        3: b"\1\0",
        7: b"\1\1f\0\0",
        10: b"\1" + _leb(len(body)) + body,
    }
    parts = [bytes([kind]) + _leb(len(data)) + data for kind, data in sections.items()]
    return b"\0asm\1\0\0\0" + b"".join(parts)


DEAD_LOADS = [
    "i32.load", "i64.load", "f32.load", "f64.load", "v128.load", "i32.load8_u", "i64.load32_s",
    "v128.load8x8_s", "v128.load32_splat", "v128.load64_zero", "i32.atomic.load",
]  # fmt: skip


@pytest.mark.parametrize("bounds_checks", ["guard", "explicit"])
@pytest.mark.parametrize("load", DEAD_LOADS)
def test_a_load_that_nothing_needs_traps(load: str, bounds_checks: str) -> None:
    text = f"""(module {MEMORY} (func (export "f") (param i32) (drop ({load} (local.get 0)))))"""
    function = run(text, bounds_checks=bounds_checks)("f")
    function(0)
    function(65536 - 16)
    with pytest.raises(TrapError) as caught:
        function(65536)
    assert caught.value.kind == TrapKind.OUT_OF_BOUNDS_MEMORY


def test_a_load_that_only_feeds_what_nothing_needs_traps() -> None:
    text = f"""(module {MEMORY} (func (export "f") (param i32) (local $sum i32)
        (loop $again
          (local.set $sum (i32.add (local.get $sum) (i32.load (i32.const 0x40000))))
          (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
          (br_if $again (local.get 0)))))"""
    with pytest.raises(TrapError):
        run(text)("f")(3)


def test_a_small_function_inlined_into_a_caller_that_drops_its_result_traps() -> None:
    text = f"""(module {MEMORY}
        (func $inner (param i32) (result i32) (i32.load (local.get 0)))
        (func (export "f") (param i32) (drop (call $inner (local.get 0)))))"""
    with pytest.raises(TrapError) as caught:
        run(text)("f")(65536)
    assert caught.value.kind == TrapKind.OUT_OF_BOUNDS_MEMORY


MEMORY64 = '(import "env" "memory" (memory i64 1 4))'


@pytest.mark.parametrize(
    ("address", "offset"),
    [
        (-1, 1),
        (-65536, 65536),
        (-4, 8),
        (65536, 0),
        (0, 65536),
        (1 << 40, 0),
        (-(1 << 63), 1 << 62),
    ],
)
@pytest.mark.parametrize("constant", [True, False])
def test_64_bit_addresses_do_not_wrap(address: int, offset: int, *, constant: bool) -> None:
    where = f"(i64.const {address})" if constant else "(local.get 0)"
    text = f"""(module {MEMORY64} (func (export "f") (param i64) (result i32)
        (i32.load offset={offset} {where})))"""
    function = run(text, MemoryType(1, 4, index64=True), "explicit")("f")
    with pytest.raises(TrapError) as caught:
        function(address)
    assert caught.value.kind == TrapKind.OUT_OF_BOUNDS_MEMORY


@pytest.mark.parametrize("byte_length", [1, 8, 65536])
@pytest.mark.parametrize("operation", ["fill", "copy to", "copy from"])
def test_bulk_ranges_do_not_end_where_64_bits_do(operation: str, byte_length: int) -> None:
    call = {
        "fill": "(memory.fill (local.get 0) (i32.const 7) (local.get 1))",
        "copy to": "(memory.copy (local.get 0) (i64.const 0) (local.get 1))",
        "copy from": "(memory.copy (i64.const 0) (local.get 0) (local.get 1))",
    }[operation]
    text = f"""(module {MEMORY64} (func (export "f") (param i64 i64) {call}))"""
    function = run(text, MemoryType(1, 4, index64=True), "explicit")("f")
    function(65536, 0)
    with pytest.raises(TrapError):
        function(-byte_length, byte_length)


def test_a_racing_index_is_read_once() -> None:
    # Each call picks its function by an index that another thread changes all the time: what was
    # compared must be what is used, else this ends the process.
    text = """(module (import "env" "memory" (memory 1 4 shared))
        (type $t (func (result i32))) (table 2 2 funcref) (elem (i32.const 0) $a $b)
        (func $a (result i32) (i32.const 10)) (func $b (result i32) (i32.const 20))
        (func (export "call") (result i32)
          (call_indirect (type $t) (i32.load (i32.const 8))))
        (func (export "table") (result i32)
          (block $2 (block $1 (block $0 (br_table $0 $1 $2 (i32.load (i32.const 8))))
            (return (i32.const 10))) (return (i32.const 20))) (i32.const 30))
        (func (export "write") (param $left i32)
          (loop $again
            (i32.store (i32.const 8) (i32.and (local.get $left) (i32.const 1)))
            (i32.store (i32.const 8) (i32.const 0x7fffffff))
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br_if $again (local.get $left)))))"""
    engine = open_engine("wamr-aot")
    program = engine.compile(bytes(wat2wasm(text)))
    memory = engine.create_memory(MemoryType(1, 4, shared=True))
    reader, writer = engine.instantiate(program, memory), engine.instantiate(program, memory)
    thread = threading.Thread(target=writer.function("write"), args=(20_000_000,))
    thread.start()
    call, table = reader.function("call"), reader.function("table")
    seen, traps = set(), set()
    while thread.is_alive():
        seen.add(table())
        try:
            seen.add(call())
        except TrapError as error:
            traps.add(error.kind)
    thread.join()
    assert seen <= {10, 20, 30}
    assert traps <= {TrapKind.UNDEFINED_ELEMENT}


CHAIN = f"""(module {MEMORY}
    (func $last (param i32) (result i32) (i32.mul (local.get 0) (i32.const 3)))
    (func $middle (param i32) (result i32)
      (i32.add (call $last (local.get 0)) (i32.const 1)))
    (func (export "f") (param i32) (result i32) (call $middle (local.get 0)))
    (func (export "g") (param i32) (result i32) (i32.const 5)))"""


def test_parts_bring_what_they_call_and_no_more() -> None:
    wasm = bytes(wat2wasm(CHAIN))
    images = [
        compile_part(wasm, bytes(wanted))
        for wanted in ([0, 0, 0, 1], [0, 0, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0])
    ]
    alone, chain, whole, nothing = map(len, images)
    assert nothing < alone < chain < whole


def test_the_same_input_gives_the_same_image_on_any_thread() -> None:
    wasm = bytes(wat2wasm(CHAIN))
    with ThreadPoolExecutor(8) as pool:
        images = set(pool.map(lambda _: compile_part(wasm, b"\1\1\1\1"), range(64)))
    assert len(images) == 1


def test_compiling_writes_no_file_and_prints_nothing(tmp_path: Path) -> None:
    script = (
        "from iree_wasm_hal.engine import open_engine\n"
        f"open_engine('wamr-aot').compile({bytes(wat2wasm(CHAIN))!r})\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path), "WAMRC_LLC_COMPILER": "/bin/false"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path, env=environment, capture_output=True, check=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (b"", b"")
    assert list(tmp_path.iterdir()) == []


def test_a_cpu_without_sse_4_1_is_refused() -> None:
    text = f"""(module {MEMORY} (func (result v128) (v128.const i32x4 1 2 3 4)))"""
    with pytest.raises(ValueError, match=r"SSE 4\.1"):
        compile_part(bytes(wat2wasm(text)), b"\1", features="+sse,+sse2")


def test_invalid_modules_are_refused_in_words() -> None:
    engine = open_engine("wamr-aot")
    with pytest.raises(WasmCompileError, match="type mismatch"):
        engine.compile(_module_with_body(b"\0\x42\0\x0b"))
    with pytest.raises(WasmCompileError, match="magic"):
        engine.compile(b"no wasm at all")


_STEP = b"\x20\0\x41\7\x6a\x41\3\x73\x21\0"  # x = (x + 7) ^ 3


def test_a_large_function_is_compiled_without_optimization() -> None:
    count = 70_000 // len(_STEP)
    wasm = _module_with_body(b"\0" + _STEP * count + b"\x20\0\x0b")
    engine = open_engine("wamr-aot")
    program = engine.compile(wasm)
    expected = 5
    for _ in range(count):
        expected = (expected + 7) ^ 3
    assert engine.instantiate(program, engine.create_memory(PAGES)).function("f")(5) == expected
    # Two instructions of three bytes for each step; an optimized one folds most of them.
    assert len(program.serialize()) > 5 * count


def test_a_huge_function_is_refused_by_name_and_size() -> None:
    wasm = _module_with_body(b"\0" + _STEP * 60_000 + b"\x20\0\x0b")
    with pytest.raises(ValueError, match=r"function 0: its body has 600003 bytes; at most 524288"):
        compile_part(wasm, b"\1")


_STARVED = """
import resource, sys
from test_wamr_aot_compiler import _STEP, _module_with_body, compile_part
step = b"\\x20\\0\\x20\\0\\x28\\2\\0\\x6a\\x21\\0"  # x = x + load(x)
wasm = _module_with_body(b"\\0" + step * 6000 + b"\\x20\\0\\x0b")
compile_part(wasm[:8] + _module_with_body(b"\\0\\x20\\0\\x0b")[8:], b"\\1")
used = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + (8 << 20),) * 2)
try:
    compile_part(wasm, b"\\1")
except ValueError as error:
    print(error)
"""


def test_lack_of_memory_is_an_error() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _STARVED],
        cwd=os.path.dirname(__file__), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "memory" in done.stdout
