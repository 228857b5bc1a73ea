"""Compiled programs that are kept: what they run on, and what is refused."""

from __future__ import annotations

import dataclasses
import random
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from iree_wasm_hal_wamr_aot import artifact as artifacts
from iree_wasm_hal_wamr_aot import compiler_library, library
from wasmtime import wat2wasm

from iree_wasm_hal.engine import MemoryType, open_engine
from iree_wasm_hal.engine.conformance.suite import load_module
from iree_wasm_hal.errors import EngineError, EngineUnavailableError, TrapError, WasmCompileError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from iree_wasm_hal.engine import Engine

SMALL = MemoryType(1, 4)


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = open_engine("wamr-aot")
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def image() -> bytes:
    return open_engine("wamr-aot").compile(load_module("integers")).serialize()


def test_artifact_is_read_as_it_was_written(image: bytes) -> None:
    artifact = artifacts.decode(image)
    assert artifacts.encode(artifact) == image
    assert "i32_add" in artifact.function_names
    assert [one.name for one in artifact.imports] == ["env.memory"]


def test_names_outlive_serialization(engine: Engine) -> None:
    text = """(module (import "env" "memory" (memory 1 4)) (func $inner unreachable)
      (func $outer (export "f") (call $inner)))"""
    program = engine.deserialize(engine.compile(bytes(wat2wasm(text))).serialize())
    with pytest.raises(TrapError) as caught:
        engine.instantiate(program, engine.create_memory(SMALL)).function("f")()
    assert set(caught.value.frames) <= {"inner", "outer"}
    assert caught.value.frames


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_deserialize_takes_any_buffer(engine: Engine, image: bytes, kind: type) -> None:
    engine.deserialize(kind(image)).close()


def test_every_damage_is_refused(engine: Engine, image: bytes) -> None:
    chance = random.Random(1)
    for _ in range(300):
        damaged = bytearray(image)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        with pytest.raises(WasmCompileError, match="cannot load the compiled program"):
            engine.deserialize(bytes(damaged))
    for byte_length in (*range(60), len(image) // 2, len(image) - 1):
        with pytest.raises(WasmCompileError, match="cannot load the compiled program"):
            engine.deserialize(image[:byte_length])


def _changed(image: bytes, **fields: object) -> bytes:
    """The artifact with other fields and a right checksum."""
    artifact = artifacts.decode(image)
    conditions = {
        name: fields.pop(name) for name in [*fields] if hasattr(artifact.conditions, name)
    }
    changed = dataclasses.replace(artifact.conditions, **conditions)  # type: ignore[arg-type]
    return artifacts.encode(
        dataclasses.replace(artifact, conditions=changed, **fields)  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("wamr_version", "2.4.2"),
        ("runtime_interface", 0),
        ("compiler_interface", 0),
        ("vector_bits", 64),
        ("bounds_checks", "explicit"),
        ("llvm_version", "21.0.0"),
    ],
)
def test_other_conditions_are_refused(
    engine: Engine, image: bytes, field: str, value: object
) -> None:
    with pytest.raises(WasmCompileError, match=rf"compiled otherwise: {field} is {value!r}, here"):
        engine.deserialize(_changed(image, **{field: value}))


def test_other_options_are_refused(image: bytes) -> None:
    for options in ({"vector_bits": 128}, {"bounds_checks": "explicit"}):
        other = open_engine("wamr-aot", **options)
        if artifacts.decode(image).conditions.vector_bits == 128 and "vector_bits" in options:
            other.deserialize(image)  # nothing is wider on this CPU
            continue
        with pytest.raises(WasmCompileError, match=f"compiled otherwise: {next(iter(options))}"):
            other.deserialize(image)


def test_another_cpu_is_refused(engine: Engine, image: bytes) -> None:
    features = (*artifacts.decode(image).cpu_features, "avx10.9-512", "zfuture")
    with pytest.raises(
        WasmCompileError, match=r"with avx10\.9-512, zfuture, which this lacks\. Compile"
    ):
        engine.deserialize(_changed(image, cpu_features=features))


def test_another_format_is_refused(
    engine: Engine, image: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = artifacts.decode(image)
    with monkeypatch.context() as patch:
        patch.setattr(artifacts, "FORMAT_VERSION", 7)
        other = artifacts.encode(artifact)
    with pytest.raises(WasmCompileError, match="its format is version 7, this plugin's is"):
        engine.deserialize(other)


@pytest.mark.parametrize(
    "fields",
    [
        {"parts": (b"\0aot",)},
        {"parts": (load_module("integers"),)},
        {"owners": ()},
        {"parts": ()},
    ],
    ids=["cut", "wasm", "owners", "none"],
)
def test_images_that_do_not_fit_are_refused(
    engine: Engine, image: bytes, fields: dict[str, object]
) -> None:
    """By the header's checks or by the library's: with a right checksum, but as nobody makes it."""
    try:
        program = engine.deserialize(_changed(image, **fields))
        with pytest.raises(EngineError):
            engine.instantiate(program, engine.create_memory(SMALL))
    except WasmCompileError:
        pass


def test_code_for_guard_pages_is_refused_where_there_are_none(image: bytes) -> None:
    engine = open_engine("wamr-aot", bounds_checks="explicit")
    program = engine.deserialize(_changed(image, bounds_checks="explicit"))
    with pytest.raises(EngineError, match="guard"):
        engine.instantiate(program, engine.create_memory(SMALL))


_LOAD = """
import sys
from pathlib import Path
from iree_wasm_hal.engine import MemoryType, open_engine
engine = open_engine("wamr-aot")
program = engine.deserialize(Path(sys.argv[1]).read_bytes())
instance = engine.instantiate(program, engine.create_memory(MemoryType(1, 4)))
print(instance.function("i32_add")(40, 2))
maps = Path("/proc/self/maps").read_text()
print("libiree_wasm_hal_wamr_aot.so" in maps, "aotc" in maps, "LLVM" in maps)
"""


def test_loading_opens_no_llvm(image: bytes, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(image)
    command = [sys.executable, "-c", _LOAD, str(tmp_path / "image")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["42", "True", "False", "False"]


def test_without_a_compiler_programs_are_loaded(
    image: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what would have to be compiled names the packages that bring one."""
    compiler_library.load_compiler.cache_clear()
    (tmp_path / library.FILE_NAME).symlink_to(library.FOLDER / library.FILE_NAME)
    monkeypatch.setattr(library, "FOLDER", tmp_path)
    engine = open_engine("wamr-aot")
    program = engine.deserialize(image)
    instance = engine.instantiate(program, engine.create_memory(SMALL))
    assert instance.function("i32_add")(40, 2) == 42
    engine.deserialize(_changed(image, vector_bits=128))  # by a compiler that merges nothing
    with pytest.raises(EngineUnavailableError) as caught:
        engine.compile(load_module("integers"))
    message = str(caught.value)
    assert "cannot compile here" in message
    assert "apt-get install llvm-22-dev" in message
    assert "make engines" in message
    compiler_library.load_compiler.cache_clear()
