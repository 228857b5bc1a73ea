"""What is particular to this plugin: options, native library, build hook, traps, the process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from iree_wasm_hal_wamr import imports, library
from wasmtime import wat2wasm

from iree_wasm_hal.engine import Feature, MemoryType, TrapKind, open_engine
from iree_wasm_hal.engine.conformance.suite import load_module
from iree_wasm_hal.errors import (
    ArgumentError,
    EngineError,
    EngineUnavailableError,
    TrapError,
    WasmCompileError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iree_wasm_hal.engine import Engine, Instance

SMALL = MemoryType(1, 4)
PLUGIN = Path(__file__).parents[1]


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = open_engine("wamr")
    yield engine
    engine.close()


@pytest.fixture
def fresh_library() -> Iterator[None]:
    """Lets the next engine look for the library again."""
    library.load_library.cache_clear()
    yield
    library.load_library.cache_clear()


def _text(engine: Engine, text: str) -> Instance:
    program = engine.compile(bytes(wat2wasm(text)))
    return engine.instantiate(program, engine.create_memory(SMALL))


def test_each_missing_feature_has_a_note(engine: Engine) -> None:
    assert set(engine.info.notes) == set(Feature) - engine.info.features


def test_library_is_the_packages_own(engine: Engine) -> None:
    assert Path(engine.info.library_path).parts[-3:-1] == ("iree_wasm_hal_wamr", "lib")


@pytest.mark.usefixtures("fresh_library")
def test_absent_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(library, "FOLDER", tmp_path)
    with pytest.raises(EngineUnavailableError, match=r"native library .* is missing\. .*pip"):
        open_engine("wamr")


@pytest.mark.usefixtures("fresh_library")
def test_damaged_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / library.FILE_NAME).write_bytes(b"no library at all")
    monkeypatch.setattr(library, "FOLDER", tmp_path)
    with pytest.raises(EngineUnavailableError, match=r"cannot be opened: .*pip"):
        open_engine("wamr")


@pytest.mark.usefixtures("fresh_library")
def test_library_without_the_functions_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import _cffi_backend

    (tmp_path / library.FILE_NAME).symlink_to(_cffi_backend.__file__)
    monkeypatch.setattr(library, "FOLDER", tmp_path)
    with pytest.raises(EngineUnavailableError, match=r"lacks iwh_wamr_call, .*pip"):
        open_engine("wamr")


@pytest.mark.usefixtures("fresh_library")
def test_another_interface_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "INTERFACE_VERSION", 99)
    with pytest.raises(EngineUnavailableError, match=r"has interface \d+, this plugin needs 99"):
        open_engine("wamr")


@pytest.mark.parametrize("value", [0, 16 * 1024 - 1, 2**31, "1", 1.5, True, None])
def test_option_values_are_checked(value: object) -> None:
    with pytest.raises(EngineError, match=r"max_wasm_stack_byte_length.*expected bytes as an int"):
        open_engine("wamr", max_wasm_stack_byte_length=value)


def test_unknown_options_are_refused() -> None:
    with pytest.raises(EngineError, match=r"no option 'max_stack'"):
        open_engine("wamr", max_stack=1)


def test_stack_option_bounds_recursion() -> None:
    text = """(module (import "env" "memory" (memory 1 4))
      (func $down (export "down") (param i32)
        (if (local.get 0) (then (call $down (i32.sub (local.get 0) (i32.const 1)))))))"""
    small = _text(open_engine("wamr", max_wasm_stack_byte_length=16 * 1024), text)
    large = _text(open_engine("wamr", max_wasm_stack_byte_length=4 * 1024**2), text)
    large.function("down")(10_000)
    with pytest.raises(TrapError) as caught:
        small.function("down")(10_000)
    assert caught.value.kind == TrapKind.STACK_EXHAUSTED


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("(func $f) (start $f)", "runs code when it is instantiated"),
        ('(func (export "__wasm_call_ctors"))', "runs code when it is instantiated"),
        ('(func (export "__post_instantiate"))', "runs code when it is instantiated"),
        ('(import "env" "f" (func))', r"imports env\.memory, env\.f; expected exactly"),
        ('(import "env" "t" (table 1 funcref))', r"imports env\.memory, env\.t"),
        ('(import "env" "g" (global i32))', r"imports env\.memory, env\.g"),
    ],
)
def test_foreign_programs_are_refused(engine: Engine, body: str, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        _text(engine, f'(module (import "env" "memory" (memory 1 4)) {body})')


def test_imports_are_read_in_order() -> None:
    """All kinds, with lengths and limits of several bytes."""
    name = "n" * 300
    wasm = wat2wasm(
        f"""(module (type (func)) (import "{name}" "f" (func (type 0)))
          (import "env" "t" (table 1 70000 funcref)) (import "env" "g" (global (mut i64)))
          (import "env" "memory" (memory 300 40000 shared)) (import "env" "h" (func)))"""
    )
    found = imports.read_imports(bytes(wasm))
    assert [each.name for each in found] == [f"{name}.f", "env.t", "env.g", "env.memory", "env.h"]
    assert [each.limits for each in found if each.limits] == [
        imports.MemoryLimits(300, 40000, shared=True)
    ]
    assert imports.read_imports(b"\0asm\1\0\0\0") == ()


@pytest.mark.parametrize(
    "text", ["(param f32)", "(param v128)", "(result i32 i32)", "(result f64)"]
)
def test_functions_of_other_types_are_refused(engine: Engine, text: str) -> None:
    instance = _text(
        engine,
        f'(module (import "env" "memory" (memory 1 4)) (func (export "f") {text} unreachable))',
    )
    with pytest.raises(EngineError, match="type that cannot be called"):
        instance.function("f")


def test_arguments_that_are_no_integers_are_refused(engine: Engine) -> None:
    instance = engine.instantiate(
        engine.compile(load_module("integers")), engine.create_memory(SMALL)
    )
    add = instance.function("i32_add")
    for arguments in ((1.5, 2), ("1", 2), (None, 2)):
        with pytest.raises(ArgumentError, match="takes 2 integers"):
            add(*arguments)
    assert add(40, 2) == 42


def test_table_traps_have_the_specs_words(engine: Engine) -> None:
    instance = _text(
        engine,
        """(module (import "env" "memory" (memory 1 4)) (table 1 funcref)
          (func $get (export "f") (param i32) (drop (table.get 0 (local.get 0)))))""",
    )
    with pytest.raises(TrapError) as caught:
        instance.function("f")(1)
    assert (caught.value.kind, caught.value.frames) == ("out of bounds table access", ("get",))


def test_functions_without_names_have_numbers(engine: Engine) -> None:
    text = """(module (import "env" "memory" (memory 1 4))
      (func unreachable) (func (export "f") (call 0)))"""
    with pytest.raises(TrapError) as caught:
        _text(engine, text).function("f")()
    assert caught.value.frames == ("function 0", "f")


def test_mutated_modules_do_no_harm() -> None:
    """In a process of its own: each is refused, or instantiated and left."""
    code = """
import random
from iree_wasm_hal.engine import MemoryType, open_engine
from iree_wasm_hal.engine.conformance.suite import load_module
from iree_wasm_hal.errors import EngineError, WasmCompileError
engine = open_engine("wamr")
memory = engine.create_memory(MemoryType(1, 16, shared=True))
seeds = [load_module(name) for name in ("traps", "shared", "vectors", "memory", "integers")]
chance = random.Random(1)
for _ in range(6000):
    wasm = bytearray(chance.choice(seeds))
    for _ in range(chance.randint(1, 4)):
        byte = chance.choice((0, 1, 127, 128, 255, chance.randrange(256)))
        wasm[chance.randrange(8, len(wasm))] = byte
    try:
        engine.instantiate(engine.compile(wasm), memory).close()
    except (EngineError, WasmCompileError):
        pass
print("alive")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("alive\n", 0), done.stderr


def test_defects_of_wamr_are_corrected(engine: Engine) -> None:
    """Each of these ended the process or read what is not the module's (wamr_corrections.cmake)."""
    header = b"\0asm\1\0\0\0"
    # (global i32 (i32.add (i64.const 0) (i32.const 0)))
    constant = header + bytes([6, 9, 1, 0x7F, 0, 0x42, 0, 0x41, 0, 0x6A, 0x0B])
    # An atomic instruction of number 4 in a function without parameters.
    types = bytes([1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 5, 4, 1, 3, 1, 1])
    atomic = header + types + bytes([10, 10, 1, 8, 0, 0x41, 0, 0xFE, 4, 0, 0, 0x0B])
    for wasm in (constant, atomic):
        with pytest.raises(WasmCompileError):
            engine.compile(wasm)


def test_nothing_is_printed_and_no_signal_handler_changes() -> None:
    """WAMR's log goes nowhere, and the interpreter checks bounds without signals."""
    code = """
import signal
from pathlib import Path
from iree_wasm_hal.engine import MemoryType, open_engine
from iree_wasm_hal.engine.conformance.suite import load_module
from iree_wasm_hal.errors import TrapError, WasmCompileError
def caught():
    status = Path("/proc/self/status").read_text()
    return [line for line in status.splitlines() if line.startswith("SigCgt")]
import faulthandler; faulthandler.enable()
before = caught()
engine = open_engine("wamr")
try:
    engine.compile(b"junk" * 9)
except WasmCompileError:
    pass
program = engine.compile(load_module("traps"))
instance = engine.instantiate(program, engine.create_memory(MemoryType(1, 1)))
for name, arguments in (("unreachable", ()), ("load32", (65536,)), ("recurse", (0,))):
    try:
        instance.function(name)(*arguments)
    except TrapError:
        pass
assert caught() == before, (before, caught())
"""
    environment = os.environ | {"PYTHONFAULTHANDLER": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("missing", ["cargo", "cmake", "cc"])
def test_build_names_the_missing_tool(missing: str, tmp_path: Path) -> None:
    """In one sentence, before anything is built."""
    code = """
import sys
sys.path.insert(0, sys.argv[1])
import shutil
from pathlib import Path
missing = {"cc": ("cc", "gcc", "clang")}.get(sys.argv[2], (sys.argv[2],))
which = shutil.which
shutil.which = lambda name: None if Path(name).name in missing else sys.executable
import hatch_build_wamr
hatch_build_wamr._check_tools()
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(PLUGIN), missing],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    message = done.stderr.strip().splitlines()
    assert len(message) == 1
    assert message[0].startswith("iree-wasm-hal-wamr cannot be built: ")
    assert {"cargo": "rustup", "cmake": "apt-get", "cc": "build-essential"}[missing] in message[0]
