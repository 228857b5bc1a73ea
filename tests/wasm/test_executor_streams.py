"""Random command streams on one and several workers, against a numpy simulation."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wasm_guest import NO_EXECUTABLE, Guest, PackageBackend, PluginBackend
from wasm_modules import kernel_module

from iree_wasm_hal.engine.registry import open_engine
from iree_wasm_hal.wasm.stream import WHOLE_BUFFER, BindingRef, Result
from iree_wasm_hal.wasm.stream_builder import CommandStreamBuilder

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

# Longer than two chunks of a copy, so that its pieces are claimed one by one.
ARENA = (1 << 21) + 4096 + 64
SLOTS = ((0, 4096), (4096 + 64, 1 << 21))
"""Slots are ranges of the arena: (byte offset, byte length)."""
LENGTHS = st.one_of(
    st.integers(0, 64), st.sampled_from((4096, (1 << 20) - 8, 1 << 20, (1 << 20) + 8, 1_500_000))
)


@dataclass
class Recording:
    """A stream under construction, its effect on a copy of the arena, and who wrote what."""

    builder: CommandStreamBuilder
    arena: NDArray[np.uint8]
    arena_address: int
    environment: int
    tables: tuple[int, ...]
    written: list[tuple[int, int]] = field(default_factory=list)
    read: list[tuple[int, int]] = field(default_factory=list)

    def order(self, reads: tuple[int, int] | None, writes: tuple[int, int] | None) -> None:
        """Adds a barrier where the next command depends on one of the same phase."""
        conflict = any(_overlap(reads, other) for other in self.written)
        conflict |= any(_overlap(writes, other) for other in (*self.written, *self.read))
        if conflict:
            self.barrier()
        self.read += [reads] if reads else []
        self.written += [writes] if writes else []

    def barrier(self) -> None:
        self.builder.barrier()
        self.written, self.read = [], []


def _overlap(a: tuple[int, int] | None, b: tuple[int, int] | None) -> bool:
    return a is not None and b is not None and a[0] < b[1] and b[0] < a[1]


@st.composite
def ranges(
    draw: st.DrawFn, multiple: int = 1, lengths: st.SearchStrategy[int] = LENGTHS
) -> tuple[int, int, int]:
    """Slot (or -1), offset in it (or in the arena), byte length."""
    slot = draw(st.integers(-1, len(SLOTS) - 1))
    available = ARENA if slot < 0 else SLOTS[slot][1]
    byte_length = min(draw(lengths), available)
    byte_length -= byte_length % multiple
    offset = draw(st.integers(0, available - byte_length))
    return slot, offset, byte_length


def _start(target: tuple[int, int, int]) -> int:
    slot, offset, _ = target
    return offset if slot < 0 else SLOTS[slot][0] + offset


def _reference(r: Recording, target: tuple[int, int, int]) -> BindingRef:
    slot, offset, byte_length = target
    return BindingRef(slot, offset + (r.arena_address if slot < 0 else 0), byte_length)


def _fill(draw: st.DrawFn, r: Recording) -> None:
    size = draw(st.sampled_from((1, 2, 4, 8)))
    target = draw(ranges(multiple=size))
    pattern = draw(st.integers(0, (1 << (8 * size)) - 1))
    start, byte_length = _start(target), target[2]
    reference = _reference(r, target)
    whole = target[0] >= 0 and (SLOTS[target[0]][1] - target[1]) % size == 0 and draw(st.booleans())
    if whole:
        byte_length = SLOTS[target[0]][1] - target[1]
        reference = BindingRef(reference.slot, reference.byte_offset, WHOLE_BUFFER)
    r.order(None, (start, start + byte_length))
    r.builder.fill(reference, pattern, size)
    repeated = np.frombuffer(pattern.to_bytes(size, "little"), np.uint8)
    r.arena[start : start + byte_length] = np.tile(repeated, byte_length // size)


def _copy(draw: st.DrawFn, r: Recording) -> None:
    source = draw(ranges())
    target = draw(ranges(lengths=st.just(source[2])))
    byte_length = min(source[2], target[2])
    source, target = (*source[:2], byte_length), (*target[:2], byte_length)
    a, b = _start(source), _start(target)
    r.order((a, a + byte_length), (b, b + byte_length))
    r.builder.copy(_reference(r, source), _reference(r, target))
    r.arena[b : b + byte_length] = r.arena[a : a + byte_length].copy()


def _update(draw: st.DrawFn, r: Recording) -> None:
    target = draw(ranges(lengths=st.integers(0, 64)))
    data = draw(st.binary(min_size=target[2], max_size=target[2]))
    start = _start(target)
    r.order(None, (start, start + target[2]))
    r.builder.update(data, _reference(r, target))
    r.arena[start : start + target[2]] = np.frombuffer(data, np.uint8)


def _dispatch(draw: st.DrawFn, r: Recording) -> None:
    x, y, z = counts = tuple(draw(st.integers(0, 9)) for _ in range(3))
    total = x * y * z
    target = draw(ranges(lengths=st.just(4 * total)))
    start, value = _start(target), draw(st.integers(0, 1 << 31))
    executable = draw(st.integers(0, len(r.tables) - 1))
    indirect: BindingRef | None = None
    if draw(st.booleans()):
        # The counts are written by the stream itself, a phase before they are read.
        at = draw(st.integers(0, (ARENA - 12) // 4)) * 4
        data = struct.pack("<3I", *counts)
        r.order(None, (at, at + 12))
        indirect = BindingRef(-1, r.arena_address + at, 12)
        r.builder.update(data, indirect)
        r.arena[at : at + 12] = np.frombuffer(data, np.uint8)
        if _overlap((at, at + 12), (start, start + 4 * total)):
            return
        r.order((at, at + 12), None)
    r.order(None, (start, start + 4 * total))
    r.builder.dispatch(
        executable,
        r.tables[executable],
        r.environment,
        indirect or counts,  # type: ignore[arg-type]  # a tuple of three
        constants=(value, 0, -1),
        bindings=[_reference(r, target)],
    )
    elements = np.frombuffer(r.arena[start : start + 4 * total].tobytes(), np.uint32)
    r.arena[start : start + 4 * total] = np.frombuffer(
        (elements + np.uint32(value)).tobytes(), np.uint8
    )


def _barrier(_draw: st.DrawFn, r: Recording) -> None:
    r.barrier()


COMMANDS: tuple[Callable[[st.DrawFn, Recording], None], ...] = (
    *(_fill, _copy, _update, _dispatch, _dispatch, _barrier),
)


def check_streams(guest: Guest, example_count: int) -> None:
    """Executes random streams twice each and compares the arena with the simulation."""
    # The kernels are wasm32 ones.
    executables = [guest.load(kernel_module()) for _ in range(0 if guest.index64 else 2)]
    tables = tuple(executable.kernels["mark"] for executable in executables)
    commands = [c for c in COMMANDS if tables or c is not _dispatch]
    starts = (*range(len(tables)), NO_EXECUTABLE)
    address = guest.allocate(ARENA)
    table = [(address + offset, byte_length) for offset, byte_length in SLOTS]

    @settings(
        max_examples=example_count,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def check(data: st.DataObject) -> None:
        seed = np.random.default_rng(data.draw(st.integers(0, 3)))
        arena = seed.integers(0, 256, ARENA, np.uint8)
        initial = arena.tobytes()
        builder = CommandStreamBuilder(8 if guest.index64 else 4)
        r = Recording(builder, arena, address, guest.environment, tables)
        for command in data.draw(st.lists(st.sampled_from(commands), max_size=14)):
            data.draw(st.composite(lambda draw, c=command: c(draw, r))())
        stream = builder.finish()
        expected = arena.tobytes()
        with guest.scope():
            place = guest.place(stream.data)
            first = data.draw(st.sampled_from(starts))
            for _ in range(2):
                guest.write(address, initial)
                results = guest.execute(stream, table, first=first, stream_address=place)
                assert results == [Result.COMPLETE] * len(results), guest.report()
                assert guest.read(address, ARENA) == expected
            assert guest.read(place, len(stream.data)) == stream.data

    check()


@pytest.mark.parametrize("atomics", [False, True])
def test_one_worker_does_what_the_simulation_does(atomics: bool) -> None:
    check_streams(Guest(PackageBackend(), atomics=atomics), 120)


@pytest.mark.parametrize("atomics", [False, True])
def test_one_worker_on_a_64_bit_memory_does_what_the_simulation_does(atomics: bool) -> None:
    check_streams(Guest(PackageBackend(index64=True), atomics=atomics), 40)


@pytest.mark.parametrize("worker_count", [1, 2, 3])
def test_workers_on_a_shared_memory_do_what_the_simulation_does(worker_count: int) -> None:
    backend = PluginBackend(open_engine("wasmtime"))
    check_streams(Guest(backend, atomics=True, worker_count=worker_count), 60)
