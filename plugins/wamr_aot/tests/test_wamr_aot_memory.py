"""One region for all instances: growth, limits of the address space, lifetime."""

from __future__ import annotations

import ctypes
import gc
import json
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


@pytest.fixture(params=["guard", "explicit"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    engine = open_engine("wamr-aot", bounds_checks=request.param)
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


_BULK = """(module (import "env" "memory" (memory 1 4)) (data $four "abcd")
  (func (export "fill") (param i32 i32 i32)
    (memory.fill (local.get 0) (i32.const 255) (local.get 2)))
  (func (export "copy") (param i32 i32 i32)
    (memory.copy (local.get 0) (local.get 1) (local.get 2)))
  (func (export "init") (param i32 i32 i32)
    (memory.init $four (local.get 0) (local.get 1) (local.get 2))))"""


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
    instance = _text(engine, _BULK, memory)
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


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ("(memory 3)", "3 pages or more, the memory has 2"),
        ("(memory 1 3)", "maximum of 3 pages or fewer, the memory's is 4"),
        ("(memory 1 4 shared)", "shared=True, the memory has shared=False"),
        ("(memory i64 1 4)", "index64=True, the memory has index64=False"),
        ("(memory 2 4)", ""),
        ("(memory 0)", ""),
    ],
)
def test_imported_limits_must_match(engine: Engine, limits: str, message: str) -> None:
    """As declared: WAMR itself merges the pages of a memory that its program does not grow."""
    kind = "i64" if "i64" in limits else "i32"
    body = f'(func (export "n") (result {kind}) memory.size)'
    program = engine.compile(bytes(wat2wasm(f'(module (import "env" "memory" {limits}) {body})')))
    memory = engine.create_memory(MemoryType(2, 4))
    if message:
        with pytest.raises(EngineError, match=message):
            engine.instantiate(program, memory)
    else:
        assert engine.instantiate(program, memory).function("n")() == 2


_LITTLE_SPACE = """
import json, resource
from iree_wasm_hal.engine import MemoryType, open_engine
from iree_wasm_hal.engine.conformance.suite import load_module
from iree_wasm_hal.errors import LimitError
engines = {name: open_engine("wamr-aot", bounds_checks=name) for name in ("guard", "explicit")}
programs = {name: one.compile(load_module("memory")) for name, one in engines.items()}
limit = int(open("/proc/self/statm").read().split()[0]) * 4096 + 1024**3
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
told = {}
for name, engine in engines.items():
    for pages in (256, 65536):
        try:
            memory = engine.create_memory(MemoryType(1, pages))
            instance = engine.instantiate(programs[name], memory)
            told[f"{name} {pages}"] = [instance.function("page_count")()]
        except LimitError as error:
            told[f"{name} {pages}"] = [str(error), error.name, error.asked, error.allowed == limit]
print(json.dumps(told))
"""


def test_reservation_that_fails_names_its_size_and_what_asks_for_less() -> None:
    command = [sys.executable, "-c", _LITTLE_SPACE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    for pages in (256, 65536):
        message, name, asked, knows_limit = told[f"guard {pages}"]
        assert f"asked for {asked} bytes of address space" in message
        assert f"bounds_checks='explicit' asks for {pages * _PAGE}" in message
        assert (name, knows_limit) == ("address space", True)
        assert asked >= 8 * 1024**3
    assert told["explicit 256"] == [1]
    message, name, asked, _ = told["explicit 65536"]
    assert f"asked for {asked} bytes" in message
    assert "max_memory_bytes" in message
    assert (name, asked) == ("address space", 4 * 1024**3)


def test_memory_of_64_bit_addresses_takes_its_maximum() -> None:
    engine = open_engine("wamr-aot")
    before = _address_space()
    memory = engine.create_memory(MemoryType(1, 64, index64=True))
    assert _address_space() - before < 64 * _PAGE + 16 * 1024**2
    with pytest.raises(LimitError, match="asks for less"):
        engine.create_memory(MemoryType(1, 2**32, index64=True))
    assert memory.page_count == 1


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def test_nothing_leaks_without_the_cycle_collector(engine: Engine) -> None:
    """Instances, memories, programs, traps and views, a thousand of each; and 40 compilations."""
    binary = load_module("traps")
    image = engine.compile(binary).serialize()

    def use() -> None:
        memory = engine.create_memory(MemoryType(1, 1024))
        memory.view()[0] = 1
        instance = engine.instantiate(engine.deserialize(image), memory)
        with pytest.raises(TrapError):
            instance.function("unreachable")()

    def use_all(count: int) -> None:
        for _ in range(25 * count):
            use()
        for _ in range(count):
            engine.compile(binary).close()

    gc.collect()
    gc.disable()
    try:
        use_all(10)
        space, resident = _address_space(), _resident()
        use_all(40)
        # Each memory reserves 64 MiB or 8 GiB.
        assert _address_space() - space < 256 * 1024**2
        assert _resident() - resident < 24 * 1024**2
    finally:
        gc.enable()
