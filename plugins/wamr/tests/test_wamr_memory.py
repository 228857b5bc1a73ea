"""One region for all instances: bounds of every access, growth, lifetime."""

from __future__ import annotations

import ctypes
import gc
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from wasmtime import wat2wasm

from iree_wasm_hal.engine import Instance, MemoryType, TrapKind, open_engine
from iree_wasm_hal.engine.conformance.suite import load_module
from iree_wasm_hal.errors import EngineError, LimitError, TrapError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iree_wasm_hal.engine import Engine, Memory

_PAGE = 65536
_LAST = 2**32 - 1
_LOADS = {
    1: "i32.load8_s i32.load8_u i64.load8_s i64.load8_u v128.load8_splat",
    2: "i32.load16_s i32.load16_u i64.load16_s i64.load16_u v128.load16_splat",
    4: "i32.load f32.load i64.load32_s i64.load32_u v128.load32_splat v128.load32_zero",
    8: "i64.load f64.load v128.load64_splat v128.load64_zero v128.load8x8_s v128.load8x8_u "
    "v128.load16x4_s v128.load16x4_u v128.load32x2_s v128.load32x2_u",
    16: "v128.load",
}
_STORES = {
    1: "i32.store8 i64.store8",
    2: "i32.store16 i64.store16",
    4: "i32.store f32.store i64.store32",
    8: "i64.store f64.store",
    16: "v128.store",
}
_ATOMIC_WIDTHS = {
    "i32": {1: "8", 2: "16", 4: ""},
    "i64": {1: "8", 2: "16", 4: "32", 8: ""},
}
_ATOMIC_OPERATIONS = ("add", "sub", "and", "or", "xor", "xchg")


def _accesses() -> list[tuple[str, int]]:
    """Every load and store, as an expression with a hole for its offset, and its width in bytes."""
    found = []
    for width, names in _LOADS.items():
        found += [(f"(drop ({name} OFFSET (local.get 0)))", width) for name in names.split()]
    for width, names in _STORES.items():
        for name in names.split():
            kind = name.partition(".")[0]
            value = "(v128.const i64x2 0 0)" if kind == "v128" else f"({kind}.const 0)"
            found.append((f"({name} OFFSET (local.get 0) {value})", width))
    vector = "(v128.const i64x2 0 0)"
    for bits in (8, 16, 32, 64):
        lane = f"lane OFFSET 0 (local.get 0) {vector})"
        found += [(f"(drop (v128.load{bits}_{lane})", bits // 8)]
        found += [(f"(v128.store{bits}_{lane}", bits // 8)]
    return found + _atomic_accesses()


def _atomic_accesses() -> list[tuple[str, int]]:
    found = []
    for kind, widths in _ATOMIC_WIDTHS.items():
        zero = f"({kind}.const 0)"
        for width, bits in widths.items():
            unsigned = "_u" if bits else ""
            found += [(f"(drop ({kind}.atomic.load{bits}{unsigned} OFFSET (local.get 0)))", width)]
            found += [(f"({kind}.atomic.store{bits} OFFSET (local.get 0) {zero})", width)]
            rmw = f"{kind}.atomic.rmw{bits}"
            for name in _ATOMIC_OPERATIONS:
                found += [(f"(drop ({rmw}.{name}{unsigned} OFFSET (local.get 0) {zero}))", width)]
            exchange = f"{rmw}.cmpxchg{unsigned} OFFSET (local.get 0) {zero} {zero}"
            found += [(f"(drop ({exchange}))", width)]
    found += [("(drop (memory.atomic.notify OFFSET (local.get 0) (i32.const 0)))", 4)]
    now = "(i64.const 0)"
    wait32 = f"(drop (memory.atomic.wait32 OFFSET (local.get 0) (i32.const 1) {now}))"
    wait64 = f"(drop (memory.atomic.wait64 OFFSET (local.get 0) (i64.const 1) {now}))"
    return [*found, (wait32, 4), (wait64, 8)]


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = open_engine("wamr")
    yield engine
    engine.close()


def _text(engine: Engine, text: str, memory: Memory) -> Instance:
    return engine.instantiate(engine.compile(bytes(wat2wasm(text))), memory)


def _traps(function: object, *arguments: int) -> bool:
    """Whether a call traps out of bounds; a trap of another kind goes on to the test."""
    assert callable(function)
    try:
        function(*arguments)
    except TrapError as error:
        if error.kind != TrapKind.OUT_OF_BOUNDS_MEMORY:
            raise
        return True
    return False


@pytest.mark.parametrize("page_count", [0, 2, 65536], ids=["empty", "two_pages", "4_gib"])
def test_every_access_traps_from_the_first_byte_outside(engine: Engine, page_count: int) -> None:
    """Addresses and offsets around the end of the memory and around 4 GiB, in exact arithmetic."""
    memory = engine.create_memory(MemoryType(0, 65536, shared=True))
    size = page_count * _PAGE
    offsets = (0, 16, _PAGE, _LAST - 15, _LAST)
    accesses = _accesses()
    functions = "".join(
        f'(func (export "f{index}_{offset}") (param i32)'
        f" {access.replace('OFFSET', f'offset={offset}')})"
        for index, (access, _) in enumerate(accesses)
        for offset in offsets
    )
    module = f'(module (import "env" "memory" (memory 0 65536 shared)) {functions})'
    instance = _text(engine, module, memory)
    memory.grow(page_count)
    outside = 0
    for index, (access, width) in enumerate(accesses):
        # An atomic access must be aligned as well; the offsets are not, so the addresses make up.
        step = width if "atomic" in access else 1
        for offset in offsets:
            function = instance.function(f"f{index}_{offset}")
            for end in (size - width, size, size + step, 2**32 - width, _LAST + 1):
                for address in (end - offset, end):
                    if not 0 <= address <= _LAST or (address + offset) % step:
                        continue
                    expected = address + offset + width > size
                    assert _traps(function, address) == expected, (access, offset, address)
                    outside += expected
    assert outside > len(accesses)


@pytest.mark.parametrize(
    ("name", "first", "second", "byte_length", "traps"),
    [
        ("fill", 0, 0, _PAGE, False),
        ("fill", _PAGE, 0, 0, False),
        ("fill", _PAGE + 1, 0, 0, True),
        ("fill", 1, 0, _PAGE, True),
        ("fill", _LAST, 0, 1, True),
        ("fill", _LAST, 0, _LAST, True),
        ("copy", 0, 16, _PAGE - 16, False),
        ("copy", 0, 16, _PAGE - 15, True),
        ("copy", 16, 0, _PAGE - 15, True),
        ("copy", 0, _LAST, _LAST, True),
        ("copy", _LAST, 0, _LAST, True),
        ("init", _PAGE - 4, 0, 4, False),
        ("init", _PAGE - 3, 0, 4, True),
        ("init", 0, 1, 4, True),
        ("init", _LAST, 0, 4, True),
    ],
)
def test_bulk_operations_trap_before_they_write(
    engine: Engine, name: str, first: int, second: int, byte_length: int, traps: bool
) -> None:
    memory = engine.create_memory(MemoryType(1, 4))
    instance = _text(
        engine,
        """(module (import "env" "memory" (memory 1 4)) (data $four "abcd")
          (func (export "fill") (param i32 i32 i32)
            (memory.fill (local.get 0) (i32.const 255) (local.get 2)))
          (func (export "copy") (param i32 i32 i32)
            (memory.copy (local.get 0) (local.get 1) (local.get 2)))
          (func (export "init") (param i32 i32 i32)
            (memory.init $four (local.get 0) (local.get 1) (local.get 2))))""",
        memory,
    )
    memory.view()[16:32] = bytes(range(1, 17))
    before = bytes(memory.view())
    assert _traps(instance.function(name), first, second, byte_length) == traps
    if traps:
        assert bytes(memory.view()) == before


@pytest.mark.parametrize("shared", [False, True])
def test_growth_reaches_every_instance(engine: Engine, shared: bool) -> None:
    """By the host and by a program, in bulk operations too."""
    memory = engine.create_memory(MemoryType(1, 8, shared))
    kind = "shared" if shared else ""
    text = f"""(module (import "env" "memory" (memory 1 8 {kind}))
      (func (export "size") (result i32) memory.size)
      (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
      (func (export "fill") (param i32 i32)
        (memory.fill (local.get 0) (i32.const 7) (local.get 1)))
      (func (export "grow_and_store") (param i32) (result i32)
        (drop (memory.grow (i32.const 1)))
        (i32.store8 (local.get 0) (i32.const 9))
        memory.size))"""
    program = engine.compile(bytes(wat2wasm(text)))
    one, other = engine.instantiate(program, memory), engine.instantiate(program, memory)
    memory.grow(1)
    assert one.function("grow")(2) == 2
    assert [each.function("size")() for each in (one, other)] == [4, 4]
    assert memory.page_count == 4
    other.function("fill")(4 * _PAGE - 8, 8)
    assert memory.view()[4 * _PAGE - 1] == 7
    assert other.function("grow_and_store")(5 * _PAGE - 1) == 5
    assert one.function("grow")(4) == -1
    assert one.function("grow")(-1) == -1
    assert one.function("grow")(3) == 5
    assert memory.page_count == other.function("size")() == 8
    with pytest.raises(LimitError):
        memory.grow(1)
    assert _traps(other.function("fill"), 8 * _PAGE - 7, 8)


def test_program_grows_to_4_gib(engine: Engine) -> None:
    memory = engine.create_memory(MemoryType(1, 65536))
    text = """(module (import "env" "memory" (memory 1 65536))
      (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
      (func (export "store8") (param i32) (i32.store8 (local.get 0) (i32.const 1))))"""
    instance = _text(engine, text, memory)
    assert instance.function("grow")(65536) == -1
    assert instance.function("grow")(65535) == 1
    assert memory.page_count == 65536
    instance.function("store8")(_LAST)
    assert memory.view()[_LAST] == 1


def test_instances_leave_the_memory_alone(engine: Engine) -> None:
    """Neither instantiating nor closing an instance touches what is there."""
    memory = engine.create_memory(MemoryType(2, 4))
    memory.view()[:] = bytes(range(256)) * 512
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory.view()))
    program = engine.compile(load_module("memory"))
    for _ in range(3):
        engine.instantiate(program, memory).close()
        gc.collect()
    assert bytes(memory.view()) == bytes(range(256)) * 512
    assert ctypes.addressof(ctypes.c_char.from_buffer(memory.view())) == address


def test_data_segments_of_a_foreign_program_are_bounded(engine: Engine) -> None:
    """The core's programs have none."""
    text = '(module (import "env" "memory" (memory 1 4)) (data (i32.const %d) "abcd"))'
    memory = engine.create_memory(MemoryType(2, 4))
    _text(engine, text % (2 * _PAGE - 4), memory)
    assert bytes(memory.view()[-4:]) == b"abcd"
    with pytest.raises(EngineError, match="out of bounds memory access"):
        _text(engine, text % (2 * _PAGE - 3), memory)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ("(memory 3)", "3 pages or more, the memory has 2"),
        ("(memory 1 3)", "maximum of 3 pages or fewer, the memory's is 4"),
        ("(memory 1 4 shared)", "shared=True, the memory has shared=False"),
        ("(memory 2 4)", ""),
        ("(memory 0)", ""),
    ],
)
def test_imported_limits_must_match(engine: Engine, limits: str, message: str) -> None:
    """As declared: WAMR itself merges the pages of a memory that its program does not grow."""
    text = f'(module (import "env" "memory" {limits}) (func (export "n") (result i32) memory.size))'
    program, memory = (
        engine.compile(bytes(wat2wasm(text))),
        engine.create_memory(MemoryType(2, 4)),
    )
    if message:
        with pytest.raises(EngineError, match=message):
            engine.instantiate(program, memory)
    else:
        assert engine.instantiate(program, memory).function("n")() == 2


def test_memory_beyond_the_address_space_is_a_limit() -> None:
    code = """
import resource
from iree_wasm_hal.engine import MemoryType, open_engine
from iree_wasm_hal.errors import LimitError
engine = open_engine("wamr")
resource.setrlimit(resource.RLIMIT_AS, (2 * 1024**3, 2 * 1024**3))
engine.create_memory(MemoryType(1, 1024)).grow(1023)
try:
    engine.create_memory(MemoryType(1, 65536))
except LimitError as error:
    print(error.asked)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{_PAGE}\n"


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def test_nothing_leaks_without_the_cycle_collector(engine: Engine) -> None:
    """Instances, memories, programs, traps and views, a thousand of each."""
    binary = load_module("traps")

    def use() -> None:
        memory = engine.create_memory(MemoryType(1, 1024))
        memory.view()[0] = 1
        instance = engine.instantiate(engine.compile(binary), memory)
        with pytest.raises(TrapError):
            instance.function("unreachable")()

    gc.collect()
    gc.disable()
    try:
        for _ in range(50):
            use()
        space, resident = _address_space(), _resident()
        for _ in range(1000):
            use()
        # Each memory reserves 64 MiB, and each instance has a stack of 512 KiB.
        assert _address_space() - space < 64 * 1024**2
        assert _resident() - resident < 16 * 1024**2
    finally:
        gc.enable()
