"""Faults of a cache, counted: changed entries, writers that are killed, processes that race.

usage: python tests/cache/programs/entry_faults.py [--flips N] [--kills N] [--races N] [--seed N]
       [--folder DIR]

``--flips``: an entry of wasmtime's is damaged in so many ways; none may reach ``deserialize``.
``--kills``: so many processes are killed, at some moment or as soon as they write; whatever they
leave, no entry may be given out that was not put, and the folder takes entries. ``--races``: so
many times two processes begin with an empty folder, and each must end with what both have put.

Prints the counts as JSON, and its progress on standard error; ends with 1 if anything was wrong.
The tests run some of each. In full it takes two minutes of an idle machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from iree_wasm_hal.cache import CodeCache

PAYLOAD_BYTE_LENGTH = 1 << 21
"""Large, so that a writer is killed in the middle of it."""
SMALL_BYTE_LENGTH = 1 << 16
"""Processes race for the folder and its secret, before they write."""
MAX_KILL_DELAY_S = 0.02
MAX_WAIT_S = 60.0


def cut(sealed: bytes, source: random.Random) -> bytes:
    return sealed[: source.randrange(len(sealed))]


def flip_bit(sealed: bytes, source: random.Random) -> bytes:
    changed = bytearray(sealed)
    changed[source.randrange(len(changed))] ^= 1 << source.randrange(8)
    return bytes(changed)


def flip_header_bit(sealed: bytes, source: random.Random) -> bytes:
    return flip_bit(sealed[:60], source) + sealed[60:]


def overwrite(sealed: bytes, source: random.Random) -> bytes:
    changed = bytearray(sealed)
    for _ in range(16):
        changed[source.randrange(len(changed))] ^= source.randrange(1, 256)
    return bytes(changed)


def clear_block(sealed: bytes, source: random.Random) -> bytes:
    """As a disk does that lost a block."""
    start = source.randrange(len(sealed)) & ~511
    cleared = sealed[:start] + bytes(len(sealed[start : start + 512])) + sealed[start + 512 :]
    return cleared if cleared != sealed else sealed[:-1]


def extend(sealed: bytes, source: random.Random) -> bytes:
    return sealed + source.randbytes(source.randrange(1, 100))


DAMAGES = (flip_bit, flip_header_bit, overwrite, cut, clear_block, extend)


def run_flips(count: int, kernel: bytes, folder: Path, source: random.Random) -> int:
    """Damages a kept kernel module; how many of the damaged entries reached ``deserialize``."""
    from counting_engine import CountingEngine

    import iree_wasm_hal as iwh
    from iree_wasm_hal.cache import CodeCache
    from iree_wasm_hal.engine import MemoryType
    from iree_wasm_hal.hal.programs import ProgramSource

    class Once(CountingEngine):
        """Compiles once, so that the rounds are short."""

        def compile(self, wasm: bytes) -> iwh.engine.Program:
            self.program = getattr(self, "program", None) or super().compile(wasm)
            return self.program

    with contextlib.closing(Once(iwh.open_engine("wasmtime"))) as engine:
        programs = ProgramSource(
            engine, MemoryType(40, 400), atomics=False, cache=CodeCache(folder)
        )
        programs.kernels(kernel, "it")
        (entry,) = folder.glob("kernels-*")
        sealed = entry.read_bytes()
        programs.kernels(kernel, "it")
        assert len(engine.deserialized) == 1, "the entry was not used at all"
        for index in range(count):
            damaged = DAMAGES[index % len(DAMAGES)](sealed, source)
            assert damaged != sealed
            entry.write_bytes(damaged)
            programs.kernels(kernel, "it")
            assert entry.read_bytes() == sealed, "it was not replaced"
        return len(engine.deserialized) - 1


def payload(name: str, byte_length: int) -> bytes:
    """What is put under a name."""
    return (name.encode() * (byte_length // len(name) + 1))[:byte_length]


def check_entry(cache: CodeCache, name: str, byte_length: int = PAYLOAD_BYTE_LENGTH) -> bool:
    """Whether there is an entry; it must be what was put."""
    from iree_wasm_hal.cache.code_cache import key_of

    found = cache.get("kernels", key_of(name))
    assert found is None or found == [payload(name, byte_length)], f"{name} was given out wrong"
    return found is not None


def put_entry(cache: CodeCache, name: str, byte_length: int = PAYLOAD_BYTE_LENGTH) -> None:
    from iree_wasm_hal.cache.code_cache import key_of

    cache.put("kernels", key_of(name), [payload(name, byte_length)])


def run_kills(count: int, folder: Path, source: random.Random) -> int:
    """Kills writers; how many left something unfinished."""
    from iree_wasm_hal.cache import CodeCache
    from iree_wasm_hal.cache.folder import TEMPORARY_PREFIX

    unfinished = 0
    for round_ in range(count):
        cache = CodeCache(folder / str(round_ % 10), max_bytes=5 * PAYLOAD_BYTE_LENGTH)
        started, start = os.pipe()
        with forked(partial(write_for_ever, cache, start)) as child:
            os.read(started, 1)
            if round_ % 2:
                wait_for_new(cache.folder, f"{TEMPORARY_PREFIX}*")
            else:
                threading.Event().wait(source.random() * MAX_KILL_DELAY_S)
            os.kill(child, signal.SIGKILL)
        os.close(started)
        os.close(start)
        unfinished += any(cache.folder.glob(f"{TEMPORARY_PREFIX}*"))
        for index in range(4):
            check_entry(cache, f"entry {index}")
        put_entry(cache, "after")
        assert check_entry(cache, "after"), "the folder takes no entries any more"
        if round_ % 3 == 0:
            cache.clear()
    return unfinished


def wait_for_new(folder: Path, pattern: str) -> None:
    """Until there is a file that was not there."""
    before = set(folder.glob(pattern))
    end = time.monotonic() + MAX_WAIT_S
    while not set(folder.glob(pattern)) - before:
        assert time.monotonic() < end, "nobody writes"


def write_for_ever(cache: CodeCache, start: int) -> None:
    put_entry(cache, "entry 0")
    os.write(start, b"1")
    while True:
        for index in range(4):
            put_entry(cache, f"entry {index}")


def run_races(count: int, folder: Path) -> int:
    """Two processes begin at once; how often both made a secret, and one gave way."""
    from iree_wasm_hal.cache import CodeCache

    for round_ in range(count):
        cache = CodeCache(folder / str(round_))
        start, begin = os.pipe()
        with (
            forked(partial(take_part, cache, start, "left")) as left,
            forked(partial(take_part, cache, start, "right")) as right,
        ):
            os.write(begin, b"12")
        os.close(start)
        os.close(begin)
        for child in (left, right):
            assert STATUSES.pop(child) == 0, f"round {round_}: a process failed"
        for name in ("left", "right", "both"):
            assert check_entry(cache, name, SMALL_BYTE_LENGTH), f"round {round_}: {name} is lost"
        shutil.rmtree(cache.folder)
    return count


def take_part(cache: CodeCache, start: int, name: str) -> None:
    os.read(start, 1)
    put_entry(cache, "both", SMALL_BYTE_LENGTH)
    put_entry(cache, name, SMALL_BYTE_LENGTH)
    assert check_entry(cache, "both", SMALL_BYTE_LENGTH)
    assert check_entry(cache, name, SMALL_BYTE_LENGTH)


STATUSES: dict[int, int] = {}


@contextlib.contextmanager
def forked(work: Callable[[], None]) -> Iterator[int]:
    """A process that does some work; at the end of the block it is waited for."""
    child = os.fork()
    if not child:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    try:
        yield child
    finally:
        STATUSES[child] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@contextlib.contextmanager
def timed(what: str) -> Iterator[None]:
    """Says on standard error what was done, and how long that took."""
    start = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)


def small_kernel(folder: Path) -> bytes:
    """Kernels of some size, from iree-compile."""
    import iree_wasm_hal as iwh

    source = folder / "source.mlir"
    source.write_text(
        "func.func @main(%a: tensor<64x64xf32>, %b: tensor<64x64xf32>) -> tensor<64x64xf32> {\n"
        "  %0 = arith.addf %a, %b : tensor<64x64xf32>\n"
        "  return %0 : tensor<64x64xf32>\n}\n"
    )
    archive = iwh.compile(source, output=folder / "source.vmfb", target="wasm32-simd128")
    rodata = iwh.BytecodeModule.from_bytes(archive.read_bytes()).archive.rodata
    return next(bytes(one) for one in rodata if bytes(one[:4]) == b"\0asm")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flips", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--races", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where to make a folder for it")
    options = parser.parse_args()
    source = random.Random(options.seed)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        # Forks first: an engine has threads.
        with timed(f"{options.races} races"):
            races = run_races(options.races, folder / "races")
        with timed(f"{options.kills} kills"):
            unfinished = run_kills(options.kills, folder / "kills", source)
        with timed(f"{options.flips} damaged entries"):
            kernel = small_kernel(folder)
            reached = run_flips(options.flips, kernel, folder / "flips", source)
    document = {
        "races": races,
        "kills": options.kills,
        "kills_that_left_something_unfinished": unfinished,
        "flips": options.flips,
        "flips_that_reached_deserialize": reached,
    }
    print(json.dumps(document))
    return int(reached > 0)


if __name__ == "__main__":
    sys.exit(main())
