"""A hand-written f32 matrix product 512x512x512 of packed factors, with a tile in registers.

The left factor is packed in panels of ``rows`` rows, the right one in panels of ``columns``
columns; the result is row-major. Workers claim panels of the right factor from a counter in the
memory, so that any number of instances on one memory share the work. Plain 128-bit operations:
what an engine does with them is what is measured.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from wasmtime import wat2wasm

from engine_speed.factors import SIZE
from engine_speed.timing import cpu_seconds, timed
from iree_wasm_hal.engine import PAGE_SIZE, Feature, MemoryType

if TYPE_CHECKING:
    import numpy.typing as npt

    from engine_speed.factors import Factors
    from iree_wasm_hal.engine import Engine

    Array = npt.NDArray[np.float32]

__all__ = ["TILES", "Tile", "TileProduct"]

_LEFT, _RIGHT, _RESULT, _COUNTER = 0x100000, 0x300000, 0x500000, 0x20000
_PAGES = 0x600000 // PAGE_SIZE
_WORKERS = 2
_CALL_S = 0.02
"""Length of a call of two workers: long beside what it takes to start them."""


@dataclass(frozen=True, slots=True)
class Tile:
    """Shape of the tile, and whether it multiplies and adds at once."""

    rows: int
    columns: int
    relaxed: bool = False

    @property
    def name(self) -> str:
        return f"tile {self.rows}x{self.columns}" + (", relaxed_madd" if self.relaxed else "")

    @property
    def features(self) -> frozenset[Feature]:
        """What an engine must have."""
        relaxed = {Feature.RELAXED_MADD} if self.relaxed else set[Feature]()
        return frozenset({Feature.SIMD128, Feature.ATOMICS} | relaxed)

    @property
    def panel_count(self) -> int:
        """Panels of the right factor in one product: what workers share."""
        return SIZE // self.columns

    def assemble(self, *, shared: bool) -> bytes:
        """The module: ``run(total)`` claims panels up to ``total`` and returns how many it got."""
        sums = [(row, column) for row in range(self.rows) for column in range(0, self.columns, 4)]
        zero = "(v128.const i32x4 0 0 0 0)"
        store = "(v128.store offset={} (local.get $result) (local.get $c{}_{}))"
        lines = [
            f'(module (import "env" "memory" (memory {_PAGES} {_PAGES}{" shared" * shared}))',
            '(func (export "run") (param $total i32) (result i32)',
            "(local $claimed i32) (local $n i32) (local $left i32) (local $right i32)",
            "(local $panel i32) (local $result i32) (local $i i32) (local $depth i32)",
            "(local $a v128)",
            *(f"(local $b{column} v128)" for column in range(0, self.columns, 4)),
            *(f"(local $c{row}_{column} v128)" for row, column in sums),
            "(block $done (loop $claim",
            f"(local.set $n (i32.atomic.rmw.add (i32.const {_COUNTER}) (i32.const 1)))",
            "(br_if $done (i32.ge_s (local.get $n) (local.get $total)))",
            "(local.set $claimed (i32.add (local.get $claimed) (i32.const 1)))",
            f"(local.set $n (i32.rem_u (local.get $n) (i32.const {self.panel_count})))",
            "(local.set $panel (i32.add (i32.const "
            f"{_RIGHT}) (i32.mul (local.get $n) (i32.const {4 * SIZE * self.columns}))))",
            "(local.set $result (i32.add (i32.const "
            f"{_RESULT}) (i32.mul (local.get $n) (i32.const {4 * self.columns}))))",
            f"(local.set $left (i32.const {_LEFT}))",
            f"(local.set $i (i32.const {SIZE // self.rows}))",
            "(loop $tile",
            *(f"(local.set $c{row}_{column} {zero})" for row, column in sums),
            "(local.set $right (local.get $panel))",
            f"(local.set $depth (i32.const {SIZE}))",
            "(loop $step",
            *self._step(),
            "(br_if $step (local.tee $depth (i32.sub (local.get $depth) (i32.const 1)))))",
            *(store.format(4 * (SIZE * row + column), row, column) for row, column in sums),
            f"(local.set $result (i32.add (local.get $result) (i32.const {4 * SIZE * self.rows})))",
            "(br_if $tile (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))",
            "(br $claim)))",
            "(local.get $claimed)))",
        ]
        return bytes(wat2wasm("\n".join(lines)))

    def _step(self) -> list[str]:
        """One step of the reduction: a row of the right factor, a column of the left one."""
        columns = range(0, self.columns, 4)
        lines = [
            f"(local.set $b{c} (v128.load offset={4 * c} (local.get $right)))" for c in columns
        ]
        for row in range(self.rows):
            lines.append(f"(local.set $a (v128.load32_splat offset={4 * row} (local.get $left)))")
            for column in columns:
                name, factors = f"$c{row}_{column}", f"(local.get $a) (local.get $b{column})"
                total = f"(local.get {name})"
                plain = f"(f32x4.add {total} (f32x4.mul {factors}))"
                fused = f"(f32x4.relaxed_madd {factors} {total})"
                lines.append(f"(local.set {name} {fused if self.relaxed else plain})")
        for name, count in (("left", self.rows), ("right", self.columns)):
            lines.append(
                f"(local.set ${name} (i32.add (local.get ${name}) (i32.const {4 * count})))"
            )
        return lines


TILES = (Tile(8, 16), Tile(8, 32), Tile(4, 16), Tile(8, 32, relaxed=True))
"""The first is the one that goals are about, and also runs on a shared memory."""


class TileProduct:
    """A tile's module on an engine, with one instance per worker on one memory.

    Args:
        engine: Has the tile's features, and shared memories if ``shared``.
        tile: What to run.
        factors: What to multiply.
        shared: Whether the memory is declared shared; then there are two workers.
    """

    def __init__(
        self, engine: Engine, tile: Tile, factors: Factors, *, shared: bool = False
    ) -> None:
        self.tile = tile
        self._memory = engine.create_memory(MemoryType(_PAGES, _PAGES, shared=shared))
        program = engine.compile(tile.assemble(shared=shared))
        self._instances = [
            engine.instantiate(program, self._memory) for _ in range(_WORKERS if shared else 1)
        ]
        self._runs = [instance.function("run") for instance in self._instances]
        self._words = np.frombuffer(self._memory.view(), np.int32)
        panels = factors.left.reshape(SIZE // tile.rows, tile.rows, SIZE).transpose(0, 2, 1)
        self._floats(_LEFT)[:] = panels.ravel()
        panels = factors.right.reshape(SIZE, tile.panel_count, tile.columns).transpose(1, 0, 2)
        self._floats(_RIGHT)[:] = panels.ravel()
        self._pool = ThreadPoolExecutor(_WORKERS) if shared else None
        self._repeats = 1

    def run(self) -> Array:
        """The product, computed once by one worker."""
        self._floats(_RESULT)[:] = np.nan
        self.seconds()
        return self._floats(_RESULT).reshape(SIZE, SIZE)

    def seconds(self) -> float:
        """CPU time of one product by one worker."""
        self._words[_COUNTER // 4] = 0
        return cpu_seconds(lambda: self._runs[0](self.tile.panel_count))

    def shared_seconds(self, worker_count: int) -> float:
        """Time on the clock of one product by several workers; several products are timed."""
        if self._repeats == 1:
            self._repeats = max(2, round(_CALL_S / self.seconds()))
        total = self.tile.panel_count * self._repeats
        self._words[_COUNTER // 4] = 0
        if worker_count == 1:
            return timed(lambda: self._runs[0](total)) / self._repeats
        assert self._pool is not None
        start = threading.Barrier(worker_count + 1)

        def work(index: int) -> int | None:
            start.wait()
            return self._runs[index](total)

        workers = [self._pool.submit(work, index) for index in range(worker_count)]
        start.wait()
        return timed(lambda: [worker.result() for worker in workers]) / self._repeats

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
        for instance in self._instances:
            instance.close()
        del self._words
        self._memory.close()

    def _floats(self, start: int) -> Array:
        first = start // 4
        return self._words.view(np.float32)[first : first + SIZE * SIZE]
