"""Parts, threads, progress and interruption of a compilation."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
import threading

import pytest
from iree_wasm_hal_wamr_aot import artifact, compilation, parts
from wasmtime import wat2wasm

from iree_wasm_hal.engine import Engine, Instance, MemoryType, open_engine
from iree_wasm_hal.engine.progress import observe_compilation

SMALL = MemoryType(1, 4)
_FUNCTION_COUNT = 30


def _large_module() -> bytes:
    """Functions of some hundred instructions that call each other, directly and through a table."""
    chance = random.Random(1)
    functions = []
    for index in range(_FUNCTION_COUNT):
        mixing = "".join(
            f"(local.set 0 (i32.{name} (local.get 0) (i32.const {constant})))"
            for name, constant in zip(
                chance.choices(("add", "xor", "mul", "rotl"), k=150),
                chance.choices(range(3, 2**31), k=150),
                strict=True,
            )
        )
        direct = f"(local.set 0 (call {index - 1} (local.get 0)))" if index else ""
        indirect = (
            f"(call_indirect (type 0) (local.get 0) (i32.const {index - 2}))"
            if index > 1
            else "(local.get 0)"
        )
        once = index % 9 == 0  # every call twice would be 2**60 of them
        functions.append(f"(func (type 0) {mixing} {direct if once else ''} {indirect})")
    elements = " ".join(map(str, range(_FUNCTION_COUNT)))
    text = f"""(module (type (func (param i32) (result i32)))
      (import "env" "memory" (memory 1 4)) (table funcref (elem {elements}))
      {"".join(functions)} (export "f" (func {_FUNCTION_COUNT - 1})))"""
    return bytes(wat2wasm(text))


_LARGE = _large_module()


def _instance(engine: Engine, wasm: bytes) -> Instance:
    return engine.instantiate(engine.compile(wasm), engine.create_memory(SMALL))


def test_parts_compute_together() -> None:
    """Calls from part to part, compared with another engine."""
    expected = _instance(open_engine("wasmtime"), _LARGE).function("f")
    function = _instance(open_engine("wamr-aot"), _LARGE).function("f")
    assert [function(value) for value in range(20)] == [expected(value) for value in range(20)]


def test_code_does_not_depend_on_threads() -> None:
    images = {
        open_engine("wamr-aot", compile_threads=threads).compile(_LARGE).serialize()
        for threads in (1, 2, 5)
    }
    assert len(images) == 1


def test_chains_of_calls_are_compiled_as_a_whole() -> None:
    """Each part would copy all functions that follow, and a long chain would take for ever."""
    step = "(local.set 0 (i32.mul (local.get 0) (i32.const 5)))" * 100
    functions = "".join(
        f"(func $f{index} (param i32) (result i32) {step} (call $f{index + 1} (local.get 0)))"
        for index in range(100)
    )
    wasm = bytes(
        wat2wasm(f"""(module (import "env" "memory" (memory 1 4)) {functions}
          (func $f100 (export "f") (param i32) (result i32)
            (i32.add (local.get 0) (i32.const 1)))
          (func (export "start") (param i32) (result i32) (call $f0 (local.get 0))))""")
    )
    engine = open_engine("wamr-aot")
    assert len(set(parts.assign_parts([700] * 102))) > 1
    program = engine.compile(wasm)
    assert len(set(artifact.decode(program.serialize()).owners)) == 1
    start = engine.instantiate(program, engine.create_memory(SMALL)).function("start")
    expected = (3 * pow(5, 100 * 100, 2**32) + 1) % 2**32
    assert start(3) == expected - (expected >> 31 << 32)


def test_threads_are_those_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    used: set[str] = set()
    compile_part = compilation.ModuleCompiler._compile_part

    def note_thread(self: compilation.ModuleCompiler, *arguments: object) -> bytes:
        used.add(threading.current_thread().name)
        return compile_part(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(compilation.ModuleCompiler, "_compile_part", note_thread)
    open_engine("wamr-aot", compile_threads=1).compile(_LARGE)
    assert len(used) == 1
    open_engine("wamr-aot", compile_threads=3).compile(_LARGE)
    assert all(name.startswith("wamr-aot-compile") for name in used)


def test_compiles_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "can_start_threads", lambda _count: False)
    assert _instance(open_engine("wamr-aot"), _LARGE).function("f")(1) is not None


def test_stack_size_of_others_is_left_alone() -> None:
    before = threading.stack_size(256 * 1024)
    try:
        open_engine("wamr-aot").compile(_LARGE)
        assert threading.stack_size() == 256 * 1024
    finally:
        threading.stack_size(before)


def test_progress_is_told_to_the_option_and_to_the_observer() -> None:
    told: list[tuple[int, int]] = []
    observed: list[tuple[int, int]] = []
    engine = open_engine("wamr-aot", progress=lambda *numbers: told.append(numbers))
    with observe_compilation(lambda *numbers: observed.append(numbers)):
        engine.compile(_LARGE)
    assert told == observed
    totals = {total for _, total in told}
    assert len(totals) == 1
    done = [one for one, _ in told]
    assert done[0] == 0
    assert done[-1] == totals.pop()
    assert done == sorted(done)
    assert len(done) > 2


_INTERRUPTED = """
import signal, sys
from pathlib import Path
from iree_wasm_hal.engine import open_engine
told = []
def interrupt(done, total):
    told.append((done, total))
    if done:  # a part is compiled, the next one is being compiled, and others wait
        signal.raise_signal(signal.SIGINT)
engine = open_engine("wamr-aot", compile_threads=1, progress=interrupt)
try:
    engine.compile(Path(sys.argv[1]).read_bytes())
except KeyboardInterrupt:
    print("interrupted", len(told), told[-1][0] < told[-1][1])
print(open_engine("wamr-aot").compile(Path(sys.argv[1]).read_bytes()) is not None)
"""


def test_interrupted_compilation_ends(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("interrupted") / "large.wasm"
    path.write_bytes(_LARGE)
    command = [sys.executable, "-c", _INTERRUPTED, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["interrupted", "2", "True", "True"]


@pytest.mark.parametrize(
    "lengths",
    [[], [0], [5], [100_000], [1] * 100_000, [100_000, 1, 1], [1, 1, 100_000], [20_000] * 9],
    ids=["none", "empty", "small", "large", "many", "first", "last", "even"],
)
def test_parts_are_runs_of_about_equal_size(lengths: list[int]) -> None:
    owners = parts.assign_parts(lengths)
    assert len(owners) == len(lengths)
    runs = [owner for owner, _ in itertools.groupby(owners)]
    assert runs == list(range(len(runs)))
    sizes = [0] * len(runs)
    for owner, byte_length in zip(owners, lengths, strict=True):
        sizes[owner] += byte_length
    bound = 2 * parts._PART_BYTE_LENGTH + max(lengths, default=0)
    assert all(size <= bound for size in sizes)


def test_parts_are_as_many_as_16_bits_number() -> None:
    owners = parts.assign_parts([10_000_000] * 3000)
    assert max(owners) < parts._MAX_PART_COUNT
