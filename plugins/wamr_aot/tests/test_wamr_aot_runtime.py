"""The runtime library below the plugin: signals, stacks, growth, waits, images, the process."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from iree_wasm_hal_wamr_aot.c_api import MESSAGE_CAPACITY, ffi
from iree_wasm_hal_wamr_aot.library import load_library
from wasmtime import wat2wasm

from iree_wasm_hal.engine import MemoryType, TrapKind, open_engine
from iree_wasm_hal.errors import InterruptedCallError, TrapError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iree_wasm_hal.engine import Engine, Instance, Memory

SMALL = MemoryType(1, 4)
SHARED = MemoryType(1, 4096, shared=True)


@pytest.fixture(params=["guard", "explicit"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    engine = open_engine("wamr-aot", bounds_checks=request.param)
    yield engine
    engine.close()


def _instance(engine: Engine, body: str, memory: Memory) -> Instance:
    kind = memory.type
    shared = " shared" if kind.shared else ""
    limits = f"{kind.min_page_count} {kind.max_page_count}{shared}"
    text = f'(module (import "env" "memory" (memory {limits})) {body})'
    return engine.instantiate(engine.compile(bytes(wat2wasm(text))), memory)


def _run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "faulthandler", "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


# --- Traps and stacks.


def test_inlined_functions_are_on_the_stack_of_a_trap(engine: Engine) -> None:
    body = """(func $fail unreachable) (func $middle (call $fail))
      (func $outer (export "f") (call $middle))"""
    with pytest.raises(TrapError) as caught:
        _instance(engine, body, engine.create_memory(SMALL)).function("f")()
    assert caught.value.frames == ("fail", "middle", "outer")


_DEEP = """(func $down (export "f") (param i32 i64) (result i32)
  (if (result i32) (local.get 0)
    (then (i32.add (i32.const 1)
      (call $down (i32.sub (local.get 0) (i32.const 1)) (local.get 1))))
    (else (i32.const 0))))"""


@pytest.mark.parametrize("stack_byte_length", [64 * 1024, 256 * 1024, 16 * 1024**2])
def test_stack_of_any_thread_is_bounded(engine: Engine, stack_byte_length: int) -> None:
    function = _instance(engine, _DEEP, engine.create_memory(SMALL)).function("f")
    outcomes: list[object] = []

    def recurse() -> None:
        for _ in range(3):
            try:
                function(10**8, 1)
            except TrapError as error:
                outcomes.append(error.kind)
        outcomes.append(function(3, 1))

    before = threading.stack_size(stack_byte_length)
    try:
        thread = threading.Thread(target=recurse)
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    assert outcomes == [TrapKind.STACK_EXHAUSTED] * 3 + [3]


def test_every_parameter_arrives(engine: Engine) -> None:
    """From none to more than fit the registers, which has the stack aligned either way."""
    memory = engine.create_memory(SMALL)
    for count in range(13):
        kinds = ["i32" if index % 3 else "i64" for index in range(count)]
        total = "(i64.const 7)"
        for index, kind in enumerate(kinds):
            value = f"(local.get {index})"
            wide = f"(i64.extend_i32_s {value})" if kind == "i32" else value
            total = f"(i64.add (i64.mul {total} (i64.const 10)) {wide})"
        body = f'(func (export "f") (param {" ".join(kinds)}) (result i64) {total})'
        arguments = [(-1) ** index * (index + 1) for index in range(count)]
        expected = 7
        for argument in arguments:
            expected = expected * 10 + argument
        assert _instance(engine, body, memory).function("f")(*arguments) == expected


def test_copies_that_the_compiler_makes_of_loops_trap(engine: Engine) -> None:
    """A loop of stores may become one fill, whose fault is in the C library."""
    body = """(func $clear (export "f") (param i32 i32) (loop $next
      (i64.store (local.get 0) (i64.const 0))
      (local.set 0 (i32.add (local.get 0) (i32.const 8)))
      (br_if $next (local.tee 1 (i32.sub (local.get 1) (i32.const 1))))))"""
    memory = engine.create_memory(SMALL)
    function = _instance(engine, body, memory).function("f")
    memory.view()[:] = bytes([1]) * 65536
    function(0, 4096)
    for count in (1, 4, 4096):
        with pytest.raises(TrapError) as caught:
            function(65536, count)
        assert (caught.value.kind, caught.value.frames) == (
            TrapKind.OUT_OF_BOUNDS_MEMORY,
            ("clear",),
        )
    assert not any(memory.view()[:32768])
    assert all(memory.view()[32768:])


# --- Signals that are nobody's trap.

_CRASH = """
import ctypes, sys
from wasmtime import wat2wasm
from iree_wasm_hal.engine import MemoryType, open_engine
from iree_wasm_hal.errors import TrapError
engine = open_engine("wamr-aot")
memory = engine.create_memory(MemoryType(1, 1))
text = '''(module (import "env" "memory" (memory 1 1))
  (func (export "f") (param i32) (result i32) (i32.load (local.get 0))))'''
function = engine.instantiate(engine.compile(bytes(wat2wasm(text))), memory).function("f")
try:
    function(65533)
except TrapError as error:
    print(error.kind, flush=True)
base = ctypes.addressof(ctypes.c_char.from_buffer(memory.view()))
if sys.argv[1] == "null":
    ctypes.string_at(0)
elif sys.argv[1] == "guard":  # our guard page, but not our code
    ctypes.string_at(base + 2**20)
else:
    ctypes.CDLL(None).raise_(int(sys.argv[1]))
""".replace("raise_(", "__getattr__('raise')(")


@pytest.mark.parametrize("cause", ["null", "guard", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL"])
def test_real_crashes_stay_crashes(cause: str) -> None:
    number = getattr(signal, cause, signal.SIGSEGV)
    argument = str(int(number)) if cause.startswith("SIG") else cause
    done = _run(_CRASH, argument)
    assert done.returncode == -number
    assert done.stdout == "out of bounds memory access\n"
    assert done.stderr.startswith("Fatal Python error: ")
    assert 'File "<string>"' in done.stderr


# --- Interruption.


def _interrupt_until_ended(engine: Engine, body: str, memory: Memory) -> float:
    """Seconds from the interruption to the end of a call that would not end by itself."""
    instance = _instance(engine, body, memory)
    function = instance.function("f")
    with ThreadPoolExecutor(1) as pool:
        view = memory.view()
        future = pool.submit(function)
        while not view[0]:
            threading.Event().wait(0.001)
        start = time.perf_counter()
        instance.interrupt()
        with pytest.raises(InterruptedCallError):
            future.result(timeout=60)
        return time.perf_counter() - start


@pytest.mark.parametrize(
    "operation",
    [
        "(memory.fill (i32.const 8) (i32.const 1) (i32.const 32768))",
        "(memory.copy (i32.const 8) (i32.const 16) (i32.const 32768))",
        "(drop (memory.grow (i32.const 0)))",
        "(drop (memory.atomic.wait32 (i32.const 64) (i32.const 5) (i64.const -1)))",
        "(drop (memory.atomic.wait32 (i32.const 64) (i32.const 0) (i64.const 1)))",
        "(drop (memory.atomic.notify (i32.const 64) (i32.const 1)))",
    ],
)
def test_loops_of_library_calls_are_interrupted(engine: Engine, operation: str) -> None:
    """Of which hardly anything runs in the program's own code."""
    body = f"""(func (export "f") (i32.store8 (i32.const 0) (i32.const 1))
      (loop $next {operation} (br $next)))"""
    for _ in range(5):
        assert _interrupt_until_ended(engine, body, engine.create_memory(SHARED)) < 30


def test_long_copies_are_interrupted(engine: Engine) -> None:
    """In their midst: the call that follows finds the end of the memory as it was."""
    page_count = 4096
    memory = engine.create_memory(MemoryType(page_count, page_count))
    end = page_count * 65536
    body = f"""(func (export "f") (i32.store8 (i32.const 0) (i32.const 1))
      (loop $next (memory.copy (i32.const 8) (i32.const 0) (i32.const {end - 8})) (br $next)))"""
    assert _interrupt_until_ended(engine, body, memory) < 30


# --- Shared memories.


def test_each_growth_finds_its_own_size(engine: Engine) -> None:
    memory = engine.create_memory(SHARED)
    body = """(func (export "grow") (result i32) (memory.grow (i32.const 1)))
      (func (export "last") (result i32)
        (i32.load8_u (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 1))))"""
    instances = [_instance(engine, body, memory) for _ in range(4)]

    def grow(instance: Instance) -> list[int | None]:
        function, last = instance.function("grow"), instance.function("last")
        found = []
        for _ in range(250):
            found.append(function())
            assert last() == 0
        return found

    with ThreadPoolExecutor(5) as pool:
        futures = [pool.submit(grow, instance) for instance in instances]
        for _ in range(50):
            memory.grow(1)
        found = [size for future in futures for size in future.result() if size is not None]
    assert len(set(found)) == len(found) == 1000
    assert memory.page_count == 1 + 1000 + 50
    assert {instance.function("last")() for instance in instances} == {0}


_WAIT = """(func (export "wait") (param i32 i64) (result i32)
    (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
    (memory.atomic.wait32 (local.get 0) (i32.const 0) (local.get 1)))
  (func (export "notify") (param i32 i32) (result i32)
    (memory.atomic.notify (local.get 0) (local.get 1)))"""


def test_notifications_count_whom_they_wake(engine: Engine) -> None:
    """Across instances, each waiter once, at its own address only."""
    memory = engine.create_memory(SHARED)
    instances = [_instance(engine, _WAIT, memory) for _ in range(7)]
    notify = _instance(engine, _WAIT, memory).function("notify")
    view = memory.view()
    with ThreadPoolExecutor(7) as pool:
        for _ in range(20):
            view[0] = 0
            here = [pool.submit(each.function("wait"), 64, -1) for each in instances[:5]]
            there = [pool.submit(each.function("wait"), 4096, -1) for each in instances[5:]]
            woken = there_woken = 0
            while woken < 3:  # they come to wait in their own time
                count = notify(64, 3 - woken)
                assert count is not None
                woken += count
            assert woken == 3
            while (woken := woken + (notify(64, -1) or 0)) < 5:
                pass
            while (there_woken := there_woken + (notify(4096, -1) or 0)) < 2:
                pass
            assert (woken, there_woken) == (5, 2)
            assert {future.result(timeout=60) for future in here + there} == {0}
    assert notify(64, -1) == 0


def test_waits_end_by_themselves(engine: Engine) -> None:
    memory = engine.create_memory(SHARED)
    wait = _instance(engine, _WAIT, memory).function("wait")
    for timeout_ns in (0, 1, 20_000_000):
        start = time.monotonic_ns()
        assert wait(64, timeout_ns) == 2
        assert time.monotonic_ns() - start >= timeout_ns
    memory.view()[64] = 1
    assert wait(64, -1) == 1


# --- Images and the machine.

_MUTATED = """
import random, struct
from wasmtime import wat2wasm
from iree_wasm_hal.engine import MemoryType, open_engine
from iree_wasm_hal_wamr_aot.c_api import ffi
from iree_wasm_hal_wamr_aot.library import load_library
lib = load_library().lib
engine = open_engine("wamr-aot")
text = '''(module (import "env" "memory" (memory 1 4)) (table 3 funcref) (elem (i32.const 0) $f $g)
  (global (mut funcref) (ref.func $f)) (type $t (func (param i32) (result i32)))
  (func $f (export "f") (param i32) (result i32) (i32.load (local.get 0)))
  (func $g (export "g") (param i32) (result i32) (call_indirect (type $t) (i32.const 1)
    (local.get 0))))'''
program = engine.compile(bytes(wat2wasm(text)))
image = bytes(program._artifact.parts[0])
region = lib.iwh_wamr_aot_region_create(1, 4, False, False, True)
message = ffi.new("char[]", 256)
sections, position = [], 8
while position < len(image):
    position = position + 3 & ~3
    kind, length = struct.unpack_from("<II", image, position)
    # Not the code itself, of section 2: what it says is run.
    sections.append((position, position + 8 + (min(length, 8) if kind == 2 else length)))
    position += 8 + length
chance = random.Random(5)
accepted = refused = 0
for _ in range(1500):
    mutated = bytearray(image)
    for _ in range(chance.choice((1, 1, 2, 5))):
        place = chance.randrange(*chance.choice(sections))
        mutated[place] = chance.choice((0, 1, 2, 127, 128, 255, chance.randrange(256)))
    if chance.random() < 0.1:
        del mutated[chance.randrange(len(mutated)) :]
    buffer = ffi.from_buffer("uint8_t[]", mutated)
    loaded = lib.iwh_wamr_aot_program_load(
        1, ffi.new("uint8_t *[]", [buffer]), ffi.new("size_t[]", [len(mutated)]),
        ffi.new("uint16_t[]", 2), 2, True, message, 256)
    instance = loaded and lib.iwh_wamr_aot_instance_create(loaded, region, 0, message, 256)
    if instance:
        accepted += 1
        lib.iwh_wamr_aot_instance_release(instance)
    else:
        refused += 1
        assert ffi.string(message)
    if loaded:
        lib.iwh_wamr_aot_program_release(loaded)
assert refused > 700, (accepted, refused)
print("alive")
"""


def test_mutated_images_do_no_harm() -> None:
    """Below the artifact's checksum: each is refused, or instantiated and left."""
    done = _run(_MUTATED)
    assert (done.stdout, done.returncode) == ("alive\n", 0), done.stderr


def test_code_is_never_writable_and_executable(engine: Engine) -> None:
    def writable_code() -> int:
        lines = Path("/proc/self/maps").read_text().splitlines()
        return sum("rwx" in line for line in lines)

    before = writable_code()
    instance = _instance(engine, _DEEP, engine.create_memory(SMALL))
    assert instance.function("f")(3, 1) == 3
    assert writable_code() == before


def test_programs_that_do_not_fit_a_region_are_refused(engine: Engine) -> None:
    program = engine.compile(bytes(wat2wasm('(module (import "env" "memory" (memory 1 4)))')))
    lib = load_library().lib
    message = ffi.new("char[]", MESSAGE_CAPACITY)
    native = program._pointer  # type: ignore[attr-defined]  # below the plugin's own checks
    for shared, index64, word in ((True, False, "shared"), (False, True, "64-bit")):
        region = lib.iwh_wamr_aot_region_create(1, 4, shared, index64, False)
        made = lib.iwh_wamr_aot_instance_create(native, region, 0, message, MESSAGE_CAPACITY)
        assert not made
        assert word in ffi.string(message).decode()
        lib.iwh_wamr_aot_region_release(region)


# As the kernel calls them, of those that LLVM calls otherwise.
_KERNEL_NAMES = {
    "sse3": "pni",
    "pclmul": "pclmulqdq",
    "sse4.1": "sse4_1",
    "sse4.2": "sse4_2",
    "sahf": "lahf_lm",
    "lzcnt": "abm",
    "prfchw": "3dnowprefetch",
    "bmi": "bmi1",
    "sha": "sha_ni",
    "avxvnni": "avx_vnni",
    "avx512vbmi2": "avx512_vbmi2",
    "avx512vnni": "avx512_vnni",
    "avx512bitalg": "avx512_bitalg",
    "avx512vpopcntdq": "avx512_vpopcntdq",
    "avx512vp2intersect": "avx512_vp2intersect",
    "avx512fp16": "avx512_fp16",
    "avx512bf16": "avx512_bf16",
    "avxifma": "avx_ifma",
}
# Newer than some kernels, which then do not name them.
_MAY_BE_UNNAMED = {"avxvnniint8", "avxvnniint16", "avxneconvert", "avx512vp2intersect", "avxifma"}


def test_cpu_features_are_those_that_the_kernel_names() -> None:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    named = set(next(line for line in lines if line.startswith("flags")).split())
    found = load_library().cpu_features
    unnamed = {name for name in found if _KERNEL_NAMES.get(name, name) not in named}
    assert unnamed <= _MAY_BE_UNNAMED
    known = {*_KERNEL_NAMES, "ssse3", "popcnt", "avx", "avx2", "fma", "f16c", "bmi2", "avx512f"}
    assert {name for name in known if _KERNEL_NAMES.get(name, name) in named} <= found
