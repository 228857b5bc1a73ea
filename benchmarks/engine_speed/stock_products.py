"""Matrix products 512x512x512 as `linalg.mmt4d`, straight from iree-compile.

The factors arrive in the layout of the tile (rows x columns x depth), so nothing but the product
is measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

import iree_wasm_hal as iwh
from engine_speed.factors import SIZE

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    from clocked_engine import ClockedEngine

    from engine_speed.factors import Factors

    Array = npt.NDArray[np.generic]

__all__ = ["STOCK_TILES", "StockProducts", "StockTile", "mlir"]

_TYPES = {"f32": ("f32", np.float32), "i8": ("i32", np.int32)}
"""Element type of the factors to that of the sums."""


@dataclass(frozen=True, slots=True)
class StockTile:
    """One function of the program."""

    element: str
    rows: int
    columns: int
    depth: int

    @property
    def name(self) -> str:
        return f"mmt4d {self.element} {self.rows}x{self.columns}x{self.depth}"

    @property
    def function(self) -> str:
        return f"mmt4d_{self.element}_{self.rows}x{self.columns}x{self.depth}"

    def mlir(self) -> str:
        """The function's source."""
        total, _ = _TYPES[self.element]
        m, n, k = SIZE // self.rows, SIZE // self.columns, SIZE // self.depth
        left = f"tensor<{m}x{k}x{self.rows}x{self.depth}x{self.element}>"
        right = f"tensor<{n}x{k}x{self.columns}x{self.depth}x{self.element}>"
        result = f"tensor<{m}x{n}x{self.rows}x{self.columns}x{total}>"
        zero = "0.0" if total == "f32" else "0"
        return f"""
func.func @{self.function}(%a: {left}, %b: {right}) -> {result} {{
  %zero = arith.constant {zero} : {total}
  %empty = tensor.empty() : {result}
  %init = linalg.fill ins(%zero : {total}) outs(%empty : {result}) -> {result}
  %product = linalg.mmt4d ins(%a, %b : {left}, {right}) outs(%init : {result}) -> {result}
  return %product : {result}
}}"""

    def pack(self, factor: Array, outer: int) -> Array:
        """A factor with its reduction along the second axis, in the layout of the tile."""
        blocks = factor.reshape(SIZE // outer, outer, SIZE // self.depth, self.depth)
        return np.ascontiguousarray(blocks.transpose(0, 2, 1, 3))


STOCK_TILES = (
    *(StockTile("f32", *shape, 1) for shape in ((8, 32), (8, 16), (4, 16), (4, 8))),
    *(StockTile("i8", *shape) for shape in ((8, 32, 1), (8, 16, 1), (4, 16, 1), (4, 8, 1))),
    *(StockTile("i8", *shape) for shape in ((8, 32, 2), (8, 8, 4))),
)


def mlir() -> str:
    """A program with a function for each tile."""
    return "\n".join(tile.mlir() for tile in STOCK_TILES)


class StockProducts:
    """The program on an engine, each function checked and ready to be timed."""

    def __init__(self, archive: Path, engine: ClockedEngine, factors: Factors) -> None:
        self._module = iwh.load(archive, engine=engine)
        self._expected = factors.product
        self._arguments = {
            tile: (
                tile.pack(factors.left.astype(_factor_type(tile)), tile.rows),
                tile.pack(factors.right.T.astype(_factor_type(tile)), tile.columns),
            )
            for tile in STOCK_TILES
        }

    def check(self, tile: StockTile) -> None:
        blocks = self.run(tile)
        result = blocks.transpose(0, 2, 1, 3).reshape(SIZE, SIZE)
        np.testing.assert_array_equal(result, self._expected, err_msg=tile.name)

    def run(self, tile: StockTile) -> Array:
        return np.asarray(self._module[tile.function](*self._arguments[tile]))


def _factor_type(tile: StockTile) -> type[np.generic]:
    return np.float32 if tile.element == "f32" else np.int8
