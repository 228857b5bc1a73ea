"""What is particular to this plugin: options, native libraries, build hook, traps, the process."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from iree_wasm_hal_wamr_aot import compiler_library, config, library, widths
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
    engine = open_engine("wamr-aot")
    yield engine
    engine.close()


@pytest.fixture
def fresh_library() -> Iterator[None]:
    """Lets the next engine look for the libraries again."""
    library.load_library.cache_clear()
    compiler_library.load_compiler.cache_clear()
    yield
    library.load_library.cache_clear()
    compiler_library.load_compiler.cache_clear()


def _text(engine: Engine, text: str) -> Instance:
    program = engine.compile(bytes(wat2wasm(text)))
    return engine.instantiate(program, engine.create_memory(SMALL))


def test_each_missing_feature_has_a_note(engine: Engine) -> None:
    assert set(engine.info.notes) == set(Feature) - engine.info.features


def test_library_is_the_packages_own(engine: Engine) -> None:
    assert Path(engine.info.library_path).parts[-3:-1] == ("iree_wasm_hal_wamr_aot", "lib")


@pytest.mark.usefixtures("fresh_library")
def test_absent_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(library, "FOLDER", tmp_path)
    with pytest.raises(EngineUnavailableError, match=r"native library .* is missing\. .*pip"):
        open_engine("wamr-aot")


@pytest.mark.usefixtures("fresh_library")
def test_damaged_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / library.FILE_NAME).write_bytes(b"no library at all")
    monkeypatch.setattr(library, "FOLDER", tmp_path)
    with pytest.raises(EngineUnavailableError, match=r"cannot be opened: .*pip"):
        open_engine("wamr-aot")


@pytest.mark.usefixtures("fresh_library")
def test_libraries_without_the_functions_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import _cffi_backend

    engine = open_engine("wamr-aot")
    for name in (library.FILE_NAME, compiler_library.FILE_NAME):
        (tmp_path / name).symlink_to(_cffi_backend.__file__)
    monkeypatch.setattr(library, "FOLDER", tmp_path)
    with pytest.raises(EngineUnavailableError, match=r"lacks iwh_aotc_buffer_byte_length, .*pip"):
        engine.compile(load_module("integers"))
    library.load_library.cache_clear()
    with pytest.raises(EngineUnavailableError, match=r"lacks iwh_wamr_aot_call, .*pip"):
        open_engine("wamr-aot")


@pytest.mark.usefixtures("fresh_library")
def test_other_interfaces_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = open_engine("wamr-aot")
    monkeypatch.setattr(compiler_library, "COMPILER_INTERFACE_VERSION", 98)
    with pytest.raises(EngineUnavailableError, match=r"has interface \d+, this plugin needs 98"):
        engine.compile(load_module("integers"))
    library.load_library.cache_clear()
    monkeypatch.setattr(library, "RUNTIME_INTERFACE_VERSION", 99)
    with pytest.raises(EngineUnavailableError, match=r"has interface \d+, this plugin needs 99"):
        open_engine("wamr-aot")


@pytest.mark.usefixtures("fresh_library")
@pytest.mark.parametrize(("system", "machine"), [("linux", "aarch64"), ("darwin", "x86_64")])
def test_other_platforms_are_refused(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    with pytest.raises(EngineUnavailableError, match=rf"x86-64 Linux only.* {machine} {system}"):
        library.load_library()


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("vector_bits", [0, 127, 1024, "128", "wide", 128.5, None, True]),
        ("bounds_checks", ["none", "", None, 1, True]),
        ("compile_threads", [0, -1, 1025, "2", 1.5, True]),
        ("max_wasm_stack_byte_length", [0, 2**31, "1", None]),
        ("progress", [1, "print"]),
    ],
)
def test_option_values_are_checked(option: str, values: list[object]) -> None:
    for value in values:
        with pytest.raises(EngineError, match=rf"{option}' is .*; expected"):
            open_engine("wamr-aot", **{option: value})


def test_unknown_options_are_refused() -> None:
    with pytest.raises(EngineError, match=r"no option 'vector_bit' \(did you mean 'vector_bits'"):
        open_engine("wamr-aot", vector_bit=128)


def test_environment_sets_the_width_where_the_option_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(config.VECTOR_BITS_VARIABLE, "128")
    assert Feature.WIDE_VECTORS not in open_engine("wamr-aot").info.features
    widest = open_engine("wamr-aot", vector_bits="auto").info.features
    monkeypatch.delenv(config.VECTOR_BITS_VARIABLE)
    assert open_engine("wamr-aot").info.features == widest
    monkeypatch.setenv(config.VECTOR_BITS_VARIABLE, "wide")
    with pytest.raises(EngineError, match=rf"{config.VECTOR_BITS_VARIABLE} is 'wide'; expected"):
        open_engine("wamr-aot")


_AVX512 = {"avx", "avx2", "avx512f", "avx512vl", "avx512bw", "avx512dq"}
_LLVM_19 = compiler_library.CompilerRecord("19.1.7", can_widen=False)
_LLVM_22 = compiler_library.CompilerRecord("22.1.8", can_widen=True)


@pytest.mark.parametrize(
    ("cpu_features", "compiler", "widest"),
    [
        (_AVX512, _LLVM_22, 512),
        (_AVX512, None, 512),
        (_AVX512 - {"avx512vl"}, _LLVM_22, 256),
        ({"avx"}, _LLVM_22, 128),
        (_AVX512, _LLVM_19, 128),
    ],
)
def test_width_is_bounded_by_cpu_and_compiler(
    cpu_features: set[str], compiler: compiler_library.CompilerRecord | None, widest: int
) -> None:
    assert widths.choose_vector_bits(None, cpu_features, compiler) == widest
    for asked in (128, 256, 512):
        if asked <= widest:
            assert widths.choose_vector_bits(asked, cpu_features, compiler) == asked
        else:
            with pytest.raises(EngineError, match=rf"'vector_bits' is {asked}, but .*(LLVM|CPU)"):
                widths.choose_vector_bits(asked, cpu_features, compiler)


def test_stack_option_bounds_recursion() -> None:
    text = """(module (import "env" "memory" (memory 1 4))
      (func $down (export "down") (param i32) (result i32)
        (if (result i32) (local.get 0)
          (then (i32.add (i32.const 1) (call $down (i32.sub (local.get 0) (i32.const 1)))))
          (else (i32.const 0)))))"""
    small = _text(open_engine("wamr-aot", max_wasm_stack_byte_length=64 * 1024), text)
    large = _text(open_engine("wamr-aot", max_wasm_stack_byte_length=4 * 1024**2), text)
    assert large.function("down")(20_000) == 20_000
    with pytest.raises(TrapError) as caught:
        small.function("down")(20_000)
    assert caught.value.kind == TrapKind.STACK_EXHAUSTED
    assert small.function("down")(100) == 100


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
    text = f'(module (import "env" "memory" (memory 1 4)) {body})'
    with pytest.raises((EngineError, WasmCompileError), match=message):
        _text(engine, text)


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
    assert (caught.value.kind, caught.value.frames[0]) == ("out of bounds table access", "get")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("unreachable", TrapKind.UNREACHABLE),
        ("(drop (i32.load (i32.const 65536)))", TrapKind.OUT_OF_BOUNDS_MEMORY),
        ("(drop (i32.div_s (i32.const 1) (local.get 0)))", TrapKind.INTEGER_DIVIDE_BY_ZERO),
    ],
)
def test_traps_name_the_function(engine: Engine, code: str, kind: str) -> None:
    """The one that trapped, by its name in the name section, or else by its number."""
    functions = "".join(f"(func {name} (param i32) {code})" for name in ("$named", ""))
    text = f"""(module (import "env" "memory" (memory 1 4)) (table funcref (elem 0 1)) {functions}
      (func (export "call") (param i32)
        (call_indirect (param i32) (i32.const 0) (local.get 0))))"""
    for index, name in enumerate(("named", "function 1")):
        with pytest.raises(TrapError, match=f"'call' trapped in '{name}': {kind}") as caught:
            _text(engine, text).function("call")(index)
        assert caught.value.kind == kind
        assert caught.value.frames[0] == name


@pytest.mark.parametrize(
    ("text", "feature"),
    [
        ("(module (tag) (func (throw 0)))", "exception-handling"),
        ("(module (memory 1) (memory 1))", "multi-memory"),
    ],
)
def test_what_the_compiler_does_not_take_is_named(engine: Engine, text: str, feature: str) -> None:
    with pytest.raises(WasmCompileError) as caught:
        engine.compile(bytes(wat2wasm(text)))
    assert f"It needs {feature}, which wamr-aot lacks (WAMR's" in str(caught.value)
    engines = str(caught.value).partition("Engines that have it: ")[2].split(", ")
    assert "wasmtime" in engines
    assert "wamr-aot" not in engines


def test_libraries_need_no_llvm_on_the_machine(engine: Engine) -> None:
    """What the wheel does not carry is the C and C++ runtime at most."""
    folder = Path(engine.info.library_path).parent
    needed = set()
    for name in (library.FILE_NAME, compiler_library.FILE_NAME):
        command = ["ldd", str(folder / name)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        needed |= {line.split()[0].partition(".so")[0] for line in done.stdout.splitlines()}
    loader = "/lib64/ld-linux-x86-64"
    assert needed <= {"libc", "libm", "libpthread", "libdl", "linux-vdso", loader}


def test_mutated_modules_do_no_harm() -> None:
    """In a process of its own: each is refused, or instantiated and left."""
    code = """
import random
from iree_wasm_hal.engine import MemoryType, open_engine
from iree_wasm_hal.engine.conformance.suite import load_module
from iree_wasm_hal.errors import EngineError, WasmCompileError
engine = open_engine("wamr-aot")
memory = engine.create_memory(MemoryType(1, 16, shared=True))
seeds = [load_module(name) for name in ("traps", "shared", "vectors", "memory", "integers")]
chance = random.Random(1)
for _ in range(600):
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


def test_nothing_is_printed_or_written(tmp_path: Path) -> None:
    """WAMR's and LLVM's logs go nowhere, and compiling leaves no file."""
    code = """
from iree_wasm_hal.engine import MemoryType, open_engine
from iree_wasm_hal.engine.conformance.suite import load_module
from iree_wasm_hal.errors import TrapError, WasmCompileError
engine = open_engine("wamr-aot")
try:
    engine.compile(b"junk" * 9)
except WasmCompileError:
    pass
program = engine.deserialize(engine.compile(load_module("traps")).serialize())
instance = engine.instantiate(program, engine.create_memory(MemoryType(1, 1)))
for name, arguments in (("unreachable", ()), ("load32", (65536,)), ("recurse", (0,))):
    try:
        instance.function(name)(*arguments)
    except TrapError:
        pass
"""
    environment = os.environ | {"TMPDIR": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=environment,
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("missing", "remedy"),
    [
        ("cargo", "rustup"),
        ("cmake", "apt-get install cmake"),
        ("cc", "build-essential"),
        ("c++", "build-essential"),
        ("llvm", "apt-get install llvm-22-dev zlib1g-dev libzstd-dev"),
    ],
)
def test_build_names_the_missing_tool(missing: str, remedy: str, tmp_path: Path) -> None:
    """In one sentence, before anything is built."""
    code = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import shutil
groups = {"cc": ("cc", "gcc", "clang"), "c++": ("c++", "g++", "clang++")}
missing = groups.get(sys.argv[2], (sys.argv[2],))
shutil.which = lambda name: None if Path(name).name in missing else sys.executable
import hatch_build_wamr_aot as hook
hook._has_llvm = lambda version: "llvm" not in missing
hook._check_tools()
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
    assert message[0].startswith("iree-wasm-hal-wamr-aot cannot be built: ")
    assert remedy in message[0]
