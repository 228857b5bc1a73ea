"""What is particular to this plugin: options, native library, stacks, interruption, lifetime."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from iree_wasm_hal_wasmtime import library
from wasmtime import wat2wasm

from iree_wasm_hal.engine import Feature, Instance, MemoryType, TrapKind, open_engine
from iree_wasm_hal.engine.conformance.background import run_in_thread, wait_for_byte
from iree_wasm_hal.engine.conformance.suite import load_module
from iree_wasm_hal.errors import (
    ArgumentError,
    EngineError,
    EngineUnavailableError,
    InterruptedCallError,
    LimitError,
    TrapError,
    WasmCompileError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from iree_wasm_hal.engine import Engine, Program

_GIB_IN_PAGES = 16384


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = open_engine("wasmtime")
    yield engine
    engine.close()


@pytest.fixture
def fresh_library() -> Iterator[None]:
    """Lets the next engine look for the library again."""
    library.load_library.cache_clear()
    yield
    library.load_library.cache_clear()


def _instance(engine: Engine, module: str) -> Instance:
    return engine.instantiate(engine.compile(load_module(module)), engine.create_memory(SMALL))


SMALL = MemoryType(1, 4)


def test_features_and_reasons(engine: Engine) -> None:
    missing = {Feature.WIDE_VECTORS}
    assert engine.info.features == frozenset(Feature) - missing
    assert set(engine.info.notes) == missing


def test_library_is_the_wheels_own(engine: Engine) -> None:
    assert engine.info.version == metadata.version("wasmtime")
    assert Path(engine.info.library_path).parts[-3] == "wasmtime"


def test_wheels_python_package_is_not_imported() -> None:
    code = (
        "import sys; from iree_wasm_hal.engine import open_engine; open_engine('wasmtime'); "
        "print('wasmtime' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.usefixtures("fresh_library")
@pytest.mark.parametrize("version", ["49.0.0", "51.0.0"])
def test_other_major_versions_are_refused(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda _name: version)
    with pytest.raises(EngineUnavailableError, match=rf"has version {version}.*of version 50.*pip"):
        open_engine("wasmtime")


@pytest.mark.usefixtures("fresh_library")
def test_missing_wheel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", version)
    with pytest.raises(EngineUnavailableError, match=r"'wasmtime' is not installed.*pip install"):
        open_engine("wasmtime")


@pytest.mark.usefixtures("fresh_library")
@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("platform", "sunos5", "no library for sunos5 on"),
        ("byteorder", "big", "no library for"),
    ],
)
def test_other_platforms_are_refused(
    monkeypatch: pytest.MonkeyPatch, attribute: str, value: str, message: str
) -> None:
    monkeypatch.setattr(f"sys.{attribute}", value)
    with pytest.raises(EngineUnavailableError, match=message):
        library.load_library()


@pytest.mark.usefixtures("fresh_library")
def test_absent_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(EngineUnavailableError, match=r"the package has no .*libwasmtime"):
        open_engine("wasmtime")


@pytest.mark.usefixtures("fresh_library")
def test_unreadable_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    junk = tmp_path / "_libwasmtime.so"
    junk.write_bytes(b"not a library")
    monkeypatch.setattr(library, "_find_library", lambda: junk)
    with pytest.raises(EngineUnavailableError, match=r"_libwasmtime.so cannot be opened: .*pip"):
        open_engine("wasmtime")


@pytest.mark.usefixtures("fresh_library")
def test_library_without_the_functions_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import _cffi_backend

    monkeypatch.setattr(library, "_find_library", lambda: Path(_cffi_backend.__file__))
    with pytest.raises(EngineUnavailableError, match=r"lacks .*wasm_config_new.*pip"):
        open_engine("wasmtime")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_wasm_stack_byte_length", 1024),
        ("max_wasm_stack_byte_length", 2**22),
        ("max_wasm_stack_byte_length", "1 MiB"),
        ("memory_reservation_byte_length", True),
        ("memory_reservation_byte_length", 2**60),
    ],
)
def test_bad_option_values_are_refused(name: str, value: object) -> None:
    with pytest.raises(EngineError, match=rf"option '{name}' is {value!r}; expected bytes"):
        open_engine("wasmtime", **{name: value})


def test_wasm_stack_option_takes_effect() -> None:
    def depth(byte_length: int) -> int:
        engine = open_engine("wasmtime", max_wasm_stack_byte_length=byte_length)
        wasm = wat2wasm(
            """(module (import "env" "memory" (memory 1 16)) (global $depth (mut i32) (i32.const 0))
            (func $down (export "down")
              (global.set $depth (i32.add (global.get $depth) (i32.const 1))) (call $down))
            (func (export "depth") (result i32) (global.get $depth)))"""
        )
        instance = engine.instantiate(engine.compile(bytes(wasm)), engine.create_memory(SMALL))
        with pytest.raises(TrapError):
            instance.function("down")()
        return instance.function("depth")() or 0

    assert 6 < depth(1024**2) / depth(128 * 1024) < 10


def test_small_stacks_are_refused() -> None:
    """In a process of its own: glibc hands out the larger stacks of other tests' threads again."""
    code = """
from functools import partial
from iree_wasm_hal.engine import MemoryType, open_engine
from iree_wasm_hal.engine.conformance.background import run_in_thread
from iree_wasm_hal.engine.conformance.suite import load_module
from iree_wasm_hal.errors import EngineError
engine = open_engine("wasmtime")
program, memory = engine.compile(load_module("traps")), engine.create_memory(MemoryType(1, 4))
recurse = engine.instantiate(program, memory).function("recurse")
for byte_length in (256 * 1024, 512 * 1024, 1024**2 - 4096):
    try:
        run_in_thread(partial(recurse, 0), stack_byte_length=byte_length).result()
    except EngineError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for line, byte_length in zip(
        done.stdout.splitlines(), ("262144", "524288", "1044480"), strict=True
    ):
        assert f"has a native stack of {byte_length} bytes; " in line
        assert "needs 1048576 or more. Call threading.stack_size(2097152)" in line


def test_smallest_accepted_stack_traps(engine: Engine) -> None:
    recurse = _instance(engine, "traps").function("recurse")
    for _ in range(20):
        with pytest.raises(TrapError) as caught:
            run_in_thread(partial(recurse, 0), stack_byte_length=1024**2).result()
        assert caught.value.kind == TrapKind.STACK_EXHAUSTED


def _memory64_program(engine: Engine, max_page_count: int) -> Program:
    text = f"""(module (import "env" "memory" (memory i64 1 {max_page_count}))
      (func (export "load") (param i64) (result i32) (i32.load8_u (local.get 0))))"""
    return engine.compile(bytes(wat2wasm(text)))


@pytest.mark.parametrize("reservation", [None, 64 * 1024, 8 * 1024**3])
def test_64_bit_memories_reserve_their_maximum(reservation: int | None) -> None:
    options = {} if reservation is None else {"memory_reservation_byte_length": reservation}
    engine = open_engine("wasmtime", **options)
    for gib in (1, 6, 40):
        memory = engine.create_memory(MemoryType(1, gib * _GIB_IN_PAGES, index64=True))
        memory.grow(gib * _GIB_IN_PAGES - 1)
        memory.view()[gib * 1024**3 - 1] = gib
        program = _memory64_program(engine, gib * _GIB_IN_PAGES)
        for one in (program, engine.deserialize(program.serialize())):
            load = engine.instantiate(one, memory).function("load")
            assert load(gib * 1024**3 - 1) == gib
            with pytest.raises(TrapError):
                load(gib * 1024**3)


def test_32_bit_memories_end_at_the_reservation() -> None:
    engine = open_engine("wasmtime", memory_reservation_byte_length=64 * 1024**2)
    memory = engine.create_memory(MemoryType(1, _GIB_IN_PAGES))
    with pytest.raises(LimitError, match="memory_reservation_byte_length"):
        memory.grow(2048)


def test_programs_for_a_larger_memory_are_refused(engine: Engine) -> None:
    memory = engine.create_memory(MemoryType(1, 16, index64=True))
    with pytest.raises(EngineError, match=r"reserves 8589934592 bytes .* reserves 4294967296"):
        engine.instantiate(_memory64_program(engine, 6 * _GIB_IN_PAGES), memory)


@pytest.mark.parametrize(
    "image", [b"", b"iwh-wt 1", b"iwh-wt 1" + (3 << 32).to_bytes(8, "little") + b"x"]
)
def test_images_of_others_are_refused(engine: Engine, image: bytes) -> None:
    with pytest.raises((WasmCompileError, EngineError)):
        engine.deserialize(image)


@pytest.mark.parametrize("name", ["_new_memory", "_get_memory", "_grow_memory"])
def test_interrupts_while_wasmtime_asks_are_raised_later(engine: Engine, name: str) -> None:
    """Ctrl-C may come while a callback runs; without a result of it wasmtime would abort."""
    interrupted: list[str] = []

    def interrupt(frame: FrameType, _event: str, _argument: object) -> None:
        if frame.f_code.co_name == name and not interrupted:
            interrupted.append(name)
            raise KeyboardInterrupt

    memory = engine.create_memory(SMALL)
    program = engine.compile(load_module("memory"))
    first = engine.instantiate(program, memory)
    grow, instantiate = partial(memory.grow, 1), partial(engine.instantiate, program, memory)
    action: Callable[[], object] = grow if name == "_grow_memory" else instantiate
    previous = sys.gettrace()
    sys.settrace(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            action()
    finally:
        sys.settrace(previous)
    assert interrupted == [name]
    for instance in (first, engine.instantiate(program, memory)):
        assert instance.function("page_count")() == memory.page_count


def test_ctrl_c_during_a_call_that_traps(engine: Engine) -> None:
    """The trap is nobody's then: not that of the next call of the same function."""
    wasm = wat2wasm(
        """(module (import "env" "memory" (memory 1 4))
        (func (export "f") (param $trap i32) (result i32)
          (if (local.get $trap) (then
            (i32.store8 (i32.const 0) (i32.const 1))
            (loop $wait (br_if $wait (i32.eqz (i32.load8_u (i32.const 1)))))
            (unreachable)))
          (i32.const 5)))"""
    )
    memory = engine.create_memory(SMALL)
    view = memory.view()
    instance = engine.instantiate(engine.compile(bytes(wasm)), memory)
    function = instance.function("f")

    def interrupt() -> None:
        while not view[0]:
            pass
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        view[1] = 1

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        function(1)
    interrupter.join()
    instance.interrupt()  # nothing runs
    assert function(0) == 5


@pytest.mark.parametrize(
    "text",
    ['(func (export "f") (param f32))', '(func (export "f") (result i32 i32) unreachable)'],
    ids=["float", "two_results"],
)
def test_only_integer_functions(engine: Engine, text: str) -> None:
    wasm = wat2wasm(f'(module (import "env" "memory" (memory 1 16)) {text})')
    instance = engine.instantiate(engine.compile(bytes(wasm)), engine.create_memory(SMALL))
    with pytest.raises(EngineError, match=r"'f' .*expected only i32 and i64"):
        instance.function("f")


def test_exported_memory_is_no_function(engine: Engine) -> None:
    wasm = wat2wasm(
        '(module (import "env" "memory" (memory 1 16)) (export "m" (memory 0))'
        ' (global (export "g") i32 (i32.const 1)) (table (export "t") 1 funcref))'
    )
    instance = engine.instantiate(engine.compile(bytes(wasm)), engine.create_memory(SMALL))
    for name in "mgt":
        with pytest.raises(EngineError, match=f"exports no function '{name}'"):
            instance.function(name)


def test_arguments_must_be_integers(engine: Engine) -> None:
    add = _instance(engine, "integers").function("i32_add")
    for wrong in (1.5, "1", None):
        with pytest.raises(ArgumentError, match=r"'i32_add'"):
            add(1, wrong)
    assert add(1, 2) == 3


def test_ticker_thread_ends(engine: Engine) -> None:
    memory = engine.create_memory(SMALL)
    instance = engine.instantiate(engine.compile(load_module("loops")), memory)
    running = run_in_thread(partial(instance.function("spin_forever"), 0))
    wait_for_byte(memory.view(), 0, running)
    instance.interrupt()
    with pytest.raises(InterruptedCallError):
        running.result()
    for thread in threading.enumerate():
        if thread.name == "iree-wasm-hal-wasmtime-ticker":
            thread.join(10)
            assert not thread.is_alive()


def test_interrupt_during_close(engine: Engine) -> None:
    """A call that runs keeps what it needs, whoever closes the instance."""
    memory = engine.create_memory(SMALL)
    instance = engine.instantiate(engine.compile(load_module("loops")), memory)
    running = run_in_thread(partial(instance.function("spin_forever"), 0))
    view = memory.view()
    wait_for_byte(view, 0, running)
    memory.close()
    engine.close()
    instance.interrupt()
    instance.close()
    with pytest.raises(InterruptedCallError):
        running.result()
    assert view[0] == 1


def _mapping_count() -> int:
    return len(Path("/proc/self/maps").read_text().splitlines())


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="counts mappings in /proc")
def test_nothing_leaks_without_the_cycle_collector(engine: Engine) -> None:
    def use() -> None:
        instance = _instance(engine, "traps")
        with pytest.raises(TrapError):
            instance.function("unreachable")()
        memory = engine.create_memory(MemoryType(1, 16, shared=True))
        shared = engine.instantiate(engine.compile(load_module("shared")), memory)
        shared.function("page_count")()
        memory.view()[0] = 1

    gc.collect()
    gc.disable()
    try:
        use()
        before = _mapping_count()
        for _ in range(100):
            use()
        # Each leaked memory would be a mapping or more.
        assert _mapping_count() - before < 20
    finally:
        gc.enable()


def test_faulthandler_before_the_engine_is_harmless() -> None:
    code = (
        "import faulthandler; faulthandler.enable()\n"
        "from iree_wasm_hal.engine import MemoryType, open_engine\n"
        "from iree_wasm_hal.engine.conformance.suite import load_module\n"
        "from iree_wasm_hal.errors import TrapError\n"
        "engine = open_engine('wasmtime')\n"
        "program = engine.compile(load_module('traps'))\n"
        "instance = engine.instantiate(program, engine.create_memory(MemoryType(1, 1)))\n"
        "try:\n    instance.function('load32')(65536)\n"
        "except TrapError as error:\n    print(error.kind)\n"
    )
    environment = {**os.environ, "PYTHONFAULTHANDLER": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == TrapKind.OUT_OF_BOUNDS_MEMORY


def test_many_instances_on_one_memory(engine: Engine) -> None:
    """A store allows 10,000 instances by default, and a memory's store is never renewed."""
    memory = engine.create_memory(SMALL)
    program = engine.compile(load_module("memory"))
    for _ in range(10_050):
        engine.instantiate(program, memory).close()


def test_uncaught_exception_is_a_trap(engine: Engine) -> None:
    wasm = wat2wasm(
        '(module (import "env" "memory" (memory 1 16)) (tag $t)'
        ' (func $thrower (export "f") (throw $t)))'
    )
    instance = engine.instantiate(engine.compile(bytes(wasm)), engine.create_memory(SMALL))
    for _ in range(3):
        with pytest.raises(TrapError) as caught:
            instance.function("f")()
        assert caught.value.kind == TrapKind.UNCAUGHT_EXCEPTION
        assert caught.value.frames == ("thrower",)


def test_wait_on_an_unshared_memory_is_a_trap(engine: Engine) -> None:
    wasm = wat2wasm(
        '(module (import "env" "memory" (memory 1 16)) (func (export "f") (result i32)'
        " (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const 0))))"
    )
    instance = engine.instantiate(engine.compile(bytes(wasm)), engine.create_memory(SMALL))
    with pytest.raises(TrapError) as caught:
        instance.function("f")()
    assert caught.value.kind == TrapKind.EXPECTED_SHARED_MEMORY
