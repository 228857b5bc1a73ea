"""What child processes of the tests do, one function each: ``python jsc_steps.py NAME``."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
import threading

from iree_wasm_hal_jsc.library import FILE_NAMES
from wasmtime import wat2wasm

from iree_wasm_hal.engine import Engine, Instance, Memory, MemoryType, open_engine
from iree_wasm_hal.engine.conformance.background import run_in_thread
from iree_wasm_hal.engine.conformance.suite import load_module
from iree_wasm_hal.errors import (
    ClosedError,
    EngineUnavailableError,
    LimitError,
    TrapError,
)

_GROWABLE = MemoryType(1, 16)


def instantiate(engine: Engine, module: str) -> Instance:
    program = engine.compile(load_module(module))
    return engine.instantiate(program, engine.create_memory(_GROWABLE))


def _first_library() -> ctypes.CDLL:
    """The library that the plugin will open, without the plugin's help."""
    for name in FILE_NAMES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise FileNotFoundError(FILE_NAMES)


def small_stacks() -> None:
    """Uses and gives up things on threads that have no stack for JavaScript.

    In a fresh process, because glibc hands out the larger stacks of ended threads again.
    """
    engine = open_engine("jsc")
    memories: list[Memory] = []

    def use() -> None:
        memories.extend(engine.create_memory(_GROWABLE) for _ in range(10))
        integers = engine.compile(load_module("integers"))
        say(engine.instantiate(integers, memories[0]).function("i32_add")(40, 2))
        memories.clear()

    for _ in range(2):
        run_in_thread(use, stack_byte_length=64 * 1024).result()


def blocked_signals() -> None:
    """Collects garbage while threads that have used the engine let no signal through.

    A collector that stopped one of them would wait for ever.
    """
    engine = open_engine("jsc")
    stop, ready = threading.Event(), threading.Barrier(4)

    def linger() -> None:
        say(instantiate(engine, "integers").function("i32_add")(40, 2))
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        ready.wait()
        stop.wait()

    threads = [threading.Thread(target=linger) for _ in range(3)]
    for thread in threads:
        thread.start()
    ready.wait()
    for _ in range(20):
        engine.create_memory(_GROWABLE).close()  # collects
    stop.set()
    for thread in threads:
        thread.join()


def opened_without_signals() -> None:
    """Opens the engine on a thread that lets no signal through; traps, and collects garbage."""

    def use() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        traps = instantiate(open_engine("jsc"), "traps")
        try:
            traps.function("load32")(-1)
        except TrapError as trap:
            say(trap.kind)

    run_in_thread(use).result()


def interrupted_call() -> None:
    """Presses Ctrl-C during a call, which stores 1 first and 2 at its end."""
    wasm = wat2wasm(
        """(module (import "env" "memory" (memory 1 16))
          (func (export "f") (param $count i64)
            (i32.store (i32.const 0) (i32.const 1))
            (loop $next
              (local.set $count (i64.sub (local.get $count) (i64.const 1)))
              (br_if $next (i64.ne (local.get $count) (i64.const 0))))
            (i32.store (i32.const 0) (i32.const 2))))"""
    )
    engine = open_engine("jsc")
    memory = engine.create_memory(_GROWABLE)
    function = engine.instantiate(engine.compile(bytes(wasm)), memory).function("f")
    view = memory.view()

    def interrupt() -> None:
        while view[0] == 0:
            threading.Event().wait(0.001)
        say("during the call:", view[0] == 1)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        try:
            function(1_000_000_000)
        finally:
            say("it is over:", view[0] == 2)
            thread.join()
    except KeyboardInterrupt:
        view[0] = 0
        function(1)
        say("interrupted; the next call:", view[0] == 2)


def interrupted_start() -> None:
    """Presses Ctrl-C at moments of the engine's opening; how many threads are left over."""
    engine = open_engine("jsc")
    instantiate(engine, "integers").function("constant")()
    before = len(os.listdir("/proc/self/task"))
    interrupts, is_armed = 0, False

    def interrupt(*_arguments: object) -> None:
        nonlocal is_armed
        if is_armed:
            is_armed = False
            raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, interrupt)
    for number in range(60):
        try:
            is_armed = True
            signal.setitimer(signal.ITIMER_REAL, 0.0002 * (number + 1))
            open_engine("jsc").close()
            is_armed = False
        except KeyboardInterrupt:
            interrupts += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    say(interrupts > 0, len(os.listdir("/proc/self/task")) - before < 10)


def say(*words: object) -> None:
    print(*words, flush=True)


def features() -> None:
    """Prints the features and the reasons for missing ones."""
    try:
        info = open_engine("jsc").info
    except EngineUnavailableError as error:
        say("unavailable:", error)
        return
    say(*sorted(feature.value for feature in info.features))
    for feature, note in info.notes.items():
        say(f"{feature.value}: {note}")


def environment() -> None:
    """Prints what of JavaScriptCore's options is left, here, in C and in child processes."""
    open_engine("jsc")
    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_char_p
    child = subprocess.run(["env"], capture_output=True, text=True, check=True).stdout
    name = "JSC_useWasmRelaxedSIMD"
    say(os.environ.get(name), getenv(name.encode()), name in child)


def initialised_by_another() -> None:
    """Opens the engine in a process that has used the library already."""
    library = _first_library()
    library.JSGlobalContextCreate.restype = ctypes.c_void_p
    library.JSGlobalContextCreate(None)
    features()
    instantiate(open_engine("jsc"), "integers").function("constant")()


def user_signal() -> None:
    """Uses SIGUSR1 before and after the engine, while the collector suspends threads."""
    received = []
    signal.signal(signal.SIGUSR1, lambda *_: received.append(1))
    engine = open_engine("jsc")
    stop = threading.Event()
    function = instantiate(engine, "integers").function("constant")

    def linger() -> None:
        function()  # makes the thread one that the collector looks at
        stop.wait()

    threads = [threading.Thread(target=linger) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        os.kill(os.getpid(), signal.SIGUSR1)
        engine.create_memory(_GROWABLE).close()  # collects
    stop.set()
    for thread in threads:
        thread.join()
    say(len(received) > 0, signal.getsignal(signal.SIGUSR1) != signal.SIG_DFL)


def native_signals() -> None:
    """Opens the engine where a native library handles every real-time signal but one."""
    libc = ctypes.CDLL(None)
    libc.signal.restype = ctypes.c_void_p
    handler = ctypes.cast(libc.abort, ctypes.c_void_p)
    free = signal.SIGRTMIN + 9
    numbers = [one for one in range(signal.SIGRTMIN, signal.SIGRTMAX + 1) if one != free]
    for number in numbers:
        libc.signal(number, handler)
    open_engine("jsc")
    kept = [libc.signal(number, handler) == handler.value for number in numbers]
    say(all(kept), libc.signal(free, handler) not in {None, handler.value})


def leave_open() -> None:
    """Ends with everything open, after a trap and with code being compiled."""
    engine = open_engine("jsc")
    memory = engine.create_memory(_GROWABLE)
    traps = engine.instantiate(engine.compile(load_module("traps")), memory)
    loops = engine.instantiate(engine.compile(load_module("loops")), memory)
    loops.function("spin")(0, 3_000_000)
    try:
        traps.function("load32")(-1)
    except TrapError as trap:
        trap.extra = (engine, memory.view(), traps)  # type: ignore[attr-defined]  # a cycle
        say(trap.kind)
    sys.modules[__name__].kept = (engine, memory, memory.view())  # type: ignore[attr-defined]


def leave_running() -> None:
    """Ends while a daemon thread is in an endless loop of wasm."""
    engine = open_engine("jsc")
    memory = engine.create_memory(_GROWABLE)
    spin = engine.instantiate(engine.compile(load_module("loops")), memory).function("spin_forever")
    view = memory.view()
    threading.Thread(target=spin, args=(0,), daemon=True).start()
    ticks = threading.Event()
    while view[0] == 0:
        ticks.wait(0.001)
    memory.close()
    engine.close()
    say("running")


def fork() -> None:
    """Forks with an engine open; the child tries to use it, frees it and ends."""
    engine = open_engine("jsc")
    memory = engine.create_memory(_GROWABLE)
    instance = engine.instantiate(engine.compile(load_module("integers")), memory)
    constant = instance.function("constant")
    child = os.fork()
    if child == 0:
        for use in (constant, lambda: memory.grow(1), lambda: engine.compile(b"")):
            try:
                use()
            except ClosedError as error:
                say(error)
        features()
        instance.close()
        memory.close()
        engine.close()
        sys.exit(0)
    say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), constant())


def collect_continuously() -> None:
    """Uses everything there is; for a collector that never rests and scribbles over the dead."""
    engine, frames, sums = open_engine("jsc"), set(), set()
    for _ in range(100):
        memory = engine.create_memory(_GROWABLE)
        traps = engine.instantiate(engine.compile(load_module("traps")), memory)
        for _ in range(20):
            try:
                traps.function("nested_unreachable")()
            except TrapError as trap:
                frames.add(trap.frames)
        integers = engine.instantiate(engine.compile(load_module("integers")), memory)
        sums.add(integers.function("i64_add")(2**62, 2**40))
        memory.grow(1)
    say(frames == {("fail", "nested")}, sums == {2**62 + 2**40})


def too_little_address_space() -> None:
    """Opens the engine under a limit at which JavaScriptCore itself would abort."""
    resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30, 3 * 2**30))
    features()


def little_address_space() -> None:
    """Opens the engine under a limit that leaves room for no more than a reservation or two."""
    resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30))
    engine = open_engine("jsc")
    fixed = engine.create_memory(MemoryType(16, 16))
    program = engine.compile(load_module("memory"))
    load = engine.instantiate(program, fixed).function("load32")
    fixed.view()[8] = 7
    say(load(8))
    try:
        load(16 * 65536 - 3)
    except TrapError as trap:
        say(trap.kind)
    memories: list[Memory] = []
    try:
        while len(memories) < 10:
            memories.append(engine.create_memory(_GROWABLE))
    except LimitError as error:
        say(error.name, error.asked)


def many_memories() -> None:
    """Holds 40 memories at a time."""
    engine = open_engine("jsc")
    memories = [engine.create_memory(MemoryType(1, 65536)) for _ in range(40)]
    for memory in memories:
        memory.grow(10)
    say(len({memory.view()[:1].tobytes() for memory in memories}))


if __name__ == "__main__":
    globals()[sys.argv[1]]()
