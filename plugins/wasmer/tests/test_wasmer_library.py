"""What is particular to this plugin: native library, options, features, compiled images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from iree_wasm_hal_wasmer import library
from wasmtime import wat2wasm

from iree_wasm_hal.engine import Feature, Instance, MemoryType, open_engine
from iree_wasm_hal.engine.conformance.background import run_in_thread
from iree_wasm_hal.engine.conformance.suite import load_module
from iree_wasm_hal.errors import (
    EngineError,
    EngineUnavailableError,
    TrapError,
    WasmCompileError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iree_wasm_hal.engine import Engine

SMALL = MemoryType(1, 16)
_LIBRARY_PATH = Path(library.__file__).parent / "lib" / "libiree_wasm_hal_wasmer.so"


@pytest.fixture(params=["cranelift", "singlepass"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    engine = open_engine("wasmer", compiler=request.param)
    yield engine
    engine.close()


def _instance(engine: Engine, module: str) -> Instance:
    return engine.instantiate(engine.compile(load_module(module)), engine.create_memory(SMALL))


def _text_instance(engine: Engine, body: str) -> Instance:
    wasm = wat2wasm(f'(module (import "env" "memory" (memory 1 16)) {body})')
    return engine.instantiate(engine.compile(bytes(wasm)), engine.create_memory(SMALL))


# The library


@pytest.fixture
def fresh_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Where the next engine looks for its library: an empty folder."""
    library.load_library.cache_clear()
    monkeypatch.setattr(library, "_FOLDER", tmp_path)
    yield tmp_path / "libiree_wasm_hal_wasmer.so"
    library.load_library.cache_clear()


def test_library_that_was_not_built(fresh_library: Path) -> None:
    with pytest.raises(EngineUnavailableError, match=rf"{fresh_library} is missing.*cargo.*pip"):
        open_engine("wasmer")


def test_library_that_is_none(fresh_library: Path) -> None:
    fresh_library.write_bytes(b"not a library")
    with pytest.raises(EngineUnavailableError, match=rf"{fresh_library} cannot be opened: .*pip"):
        open_engine("wasmer")


def test_library_of_something_else(fresh_library: Path) -> None:
    import _cffi_backend

    fresh_library.symlink_to(_cffi_backend.__file__)
    with pytest.raises(EngineUnavailableError, match=r"lacks .*iwh_wasmer_abi_version.*pip"):
        open_engine("wasmer")


def test_library_of_another_plugin_version(
    monkeypatch: pytest.MonkeyPatch, fresh_library: Path
) -> None:
    fresh_library.symlink_to(_LIBRARY_PATH)
    monkeypatch.setattr(library, "ABI_VERSION", 7)
    with pytest.raises(EngineUnavailableError, match=r"ABI version \d+; this plugin knows 7.*pip"):
        open_engine("wasmer")


def test_library_of_another_platform(monkeypatch: pytest.MonkeyPatch, fresh_library: Path) -> None:
    del fresh_library
    monkeypatch.setattr("sys.platform", "sunos5")
    with pytest.raises(EngineUnavailableError, match="no library for sunos5 on"):
        library.load_library()


# Options and features


@pytest.mark.parametrize("value", ["llvm", "", 0, None])
def test_unknown_compilers_are_refused(value: object) -> None:
    with pytest.raises(EngineError, match=r"'compiler' is .*expected 'cranelift' or 'singlepass'"):
        open_engine("wasmer", compiler=value)


@pytest.mark.parametrize("value", [1024, 2**30, "1 MiB", True])
def test_bad_stack_sizes_are_refused(value: object) -> None:
    with pytest.raises(EngineError, match=rf"'max_wasm_stack_byte_length' is {value!r}; expected"):
        open_engine("wasmer", max_wasm_stack_byte_length=value)


def test_wasm_stack_option_takes_effect() -> None:
    def depth(byte_length: int) -> int:
        engine = open_engine("wasmer", max_wasm_stack_byte_length=byte_length)
        instance = _text_instance(
            engine,
            """(global $depth (mut i32) (i32.const 0))
            (func $down (export "down")
              (global.set $depth (i32.add (global.get $depth) (i32.const 1))) (call $down))
            (func (export "depth") (result i32) (global.get $depth))""",
        )
        # A thread keeps a stack that is larger than asked for, hence one of its own.
        with pytest.raises(TrapError):
            run_in_thread(instance.function("down")).result()
        return instance.function("depth")() or 0

    small, large = depth(1024**2), depth(8 * 1024**2)
    assert 6 < large / small < 10


def test_each_missing_feature_has_a_reason(engine: Engine) -> None:
    missing = set(Feature) - engine.info.features
    assert set(engine.info.notes) == missing
    assert all(engine.info.notes.values())


def test_cranelift_lacks_three_features() -> None:
    features = open_engine("wasmer").info.features
    missing = {Feature.MEMORY64, Feature.TAIL_CALL, Feature.WIDE_VECTORS}
    assert set(Feature) - features == missing


def test_compilers_agree_on_bits() -> None:
    memories = []
    for compiler in ("cranelift", "singlepass"):
        engine = open_engine("wasmer", compiler=compiler)
        memory = engine.create_memory(SMALL)
        instance = engine.instantiate(engine.compile(load_module("memory")), memory)
        instance.function("generate")(0, 65536, 7)
        memories.append(bytes(memory.view()))
    assert memories[0] == memories[1]
    assert any(memories[0])


# Images


def _replaced(image: bytes, index: int, value: bytes) -> bytes:
    line, _, code = image.partition(b"\n")
    fields = line.split(b";")
    fields[index] = value
    return b";".join(fields) + b"\n" + code


def test_images_of_others_are_refused(engine: Engine) -> None:
    image = engine.compile(load_module("integers")).serialize()
    cases = {
        "does not begin with": _replaced(image, 0, b"iree-wasm-hal-wasmer 0"),
        r"for Wasmer 6.1.0, this is \d": _replaced(image, 1, b"6.1.0"),
        "for compiler llvm, this is": _replaced(image, 2, b"llvm"),
        "for the platform s390x-linux, this is": _replaced(image, 3, b"s390x-linux"),
        "this CPU lacks avx1024": _replaced(image, 4, b"sse2 avx1024"),
        "bytes of code and holds": image[:-1],
    }
    for message, changed in cases.items():
        with pytest.raises(WasmCompileError, match=f"cannot load the compiled image.*{message}"):
            engine.deserialize(changed)
    program = engine.deserialize(image)
    function = engine.instantiate(program, engine.create_memory(SMALL)).function("i32_add")
    assert function(40, 2) == 42


def test_images_of_the_other_compiler_are_refused() -> None:
    image = open_engine("wasmer", compiler="singlepass").compile(load_module("loops")).serialize()
    with pytest.raises(WasmCompileError, match="for compiler singlepass, this is cranelift"):
        open_engine("wasmer").deserialize(image)


def test_image_of_every_length_is_refused(engine: Engine) -> None:
    image = engine.compile(b"\0asm\1\0\0\0").serialize()
    for byte_length in range(0, len(image), 7):
        with pytest.raises(WasmCompileError):
            engine.deserialize(image[:byte_length])


def test_image_keeps_names_for_traps(engine: Engine) -> None:
    program = engine.deserialize(engine.compile(load_module("traps")).serialize())
    instance = engine.instantiate(program, engine.create_memory(SMALL))
    with pytest.raises(TrapError) as caught:
        instance.function("nested_unreachable")()
    assert caught.value.frames == ("fail", "nested")
