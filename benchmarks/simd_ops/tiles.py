"""The inner loop of an f32 matrix product, for tiles of several shapes.

A tile of rows x columns is kept in locals. Each step of the reduction loads a row of the packed
right side, broadcasts a column of the packed left side, and multiplies and adds.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from wasmtime import wat2wasm

from iree_wasm_hal.engine import MemoryType
from iree_wasm_hal.errors import WasmCompileError
from simd_ops.measure import WrongResultError

if TYPE_CHECKING:
    from iree_wasm_hal.engine import Engine

__all__ = ["TILES", "Tile", "gflop_per_s"]

_DEPTH = 512
_RESULT, _LEFT, _RIGHT = 1024, 8192, 65536
_WARM_UP_CALLS = 10


@dataclass(frozen=True, slots=True)
class Tile:
    """Shape in elements, and whether it uses relaxed_madd."""

    rows: int
    columns: int
    fused: bool

    @property
    def name(self) -> str:
        return f"{self.rows}x{self.columns}, {'relaxed_madd' if self.fused else 'mul and add'}"

    def assemble(self) -> bytes:
        """The module: exports ``run(repeats) -> 0``."""
        vectors = range(self.columns // 4)
        sums = [(row, vector) for row in range(self.rows) for vector in vectors]
        step = [
            f"(local.set $b{vector} (v128.load offset={16 * vector} (local.get $right)))"
            for vector in vectors
        ]
        for row in range(self.rows):
            step.append(f"(local.set $a (v128.load32_splat offset={4 * row} (local.get $left)))")
            step += [self._multiply_add(row, vector) for vector in vectors]
        text = [
            '(module (import "env" "memory" (memory 4 4))',
            '(func (export "run") (param $repeats i32) (result i32)',
            "(local $depth i32) (local $left i32) (local $right i32) (local $a v128)",
            *(f"(local $b{vector} v128)" for vector in vectors),
            *(f"(local $c{row}_{vector} v128)" for row, vector in sums),
            "(loop $again",
            *(f"(local.set $c{row}_{vector} (v128.const i32x4 0 0 0 0))" for row, vector in sums),
            f"(local.set $depth (i32.const {_DEPTH}))",
            f"(local.set $left (i32.const {_LEFT})) (local.set $right (i32.const {_RIGHT}))",
            "(loop $next",
            *step,
            f"(local.set $left (i32.add (local.get $left) (i32.const {4 * self.rows})))",
            f"(local.set $right (i32.add (local.get $right) (i32.const {4 * self.columns})))",
            "(br_if $next (local.tee $depth (i32.sub (local.get $depth) (i32.const 1)))))",
            *(
                f"(v128.store offset={_RESULT + 4 * self.columns * row + 16 * vector}"
                f" (i32.const 0) (local.get $c{row}_{vector}))"
                for row, vector in sums
            ),
            "(br_if $again (local.tee $repeats (i32.sub (local.get $repeats) (i32.const 1)))))",
            "(i32.const 0)))",
        ]
        return bytes(wat2wasm("\n".join(text)))

    def _multiply_add(self, row: int, vector: int) -> str:
        name = f"$c{row}_{vector}"
        factors, total = f"(local.get $a) (local.get $b{vector})", f"(local.get {name})"
        if self.fused:
            return f"(local.set {name} (f32x4.relaxed_madd {factors} {total}))"
        return f"(local.set {name} (f32x4.add {total} (f32x4.mul {factors})))"


_SHAPES = ((2, 16), (4, 8), (4, 12), (4, 16), (8, 8))
TILES = [Tile(*shape, fused) for shape in _SHAPES for fused in (False, True)]


def gflop_per_s(engine: Engine, tile: Tile, *, call_s: float, repeats: int) -> float | None:
    """The best of several calls, in CPU time; None where the module is not valid.

    Raises:
        WrongResultError: The engine computed something else than numpy.
    """
    try:
        program = engine.compile(tile.assemble())
    except WasmCompileError:
        return None
    memory = engine.create_memory(MemoryType(4, 4))
    instance = engine.instantiate(program, memory)
    run = instance.function("run")
    floats = np.frombuffer(memory.view(), np.float32)
    random = np.random.default_rng(5)
    # Whole numbers: exact in any order, fused or not.
    left = random.integers(-8, 9, (_DEPTH, tile.rows)).astype(np.float32)
    right = random.integers(-8, 9, (_DEPTH, tile.columns)).astype(np.float32)
    for start, factor in ((_LEFT, left), (_RIGHT, right)):
        floats[start // 4 : start // 4 + factor.size] = factor.ravel()

    def seconds(count: int) -> float:
        start = time.process_time()
        run(count)
        return time.process_time() - start

    count = max(1, int(call_s * 20 / max(seconds(20), 1e-6)))
    for _ in range(_WARM_UP_CALLS):
        seconds(count)
    best = min(seconds(count) for _ in range(repeats))
    result = floats[_RESULT // 4 : _RESULT // 4 + tile.rows * tile.columns]
    if not np.array_equal(result.reshape(tile.rows, tile.columns), left.T @ right):
        raise WrongResultError(f"{engine.info.name}: tile {tile.name} differs from numpy's")
    instance.close()
    memory.close()
    return 2e-9 * tile.rows * tile.columns * _DEPTH * count / best
