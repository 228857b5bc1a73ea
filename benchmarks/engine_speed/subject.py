"""One engine with everything loaded on it, checked and warm."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from clocked_engine import ClockedEngine

import iree_wasm_hal as iwh
from engine_speed.stock_products import STOCK_TILES, StockProducts
from engine_speed.tile_product import TILES, TileProduct
from engine_speed.timing import Samples, cpu_seconds, timed, warm_up
from iree_wasm_hal.engine import Feature, MemoryType
from iree_wasm_hal.engine.conformance.suite import load_module

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    from engine_speed.inputs import Inputs, Model

__all__ = ["COMPILED", "MODELS", "SHARED_ROWS", "Subject"]

MODELS = ("magika", "squeezenet")
COMPILED = (*MODELS, "ocr_detector")
SHARED_ROWS = {count: f"{TILES[0].name}, shared memory, {count} workers" for count in (1, 2)}
_COMPILE_ROUNDS = 3
"""Compiling takes long on some engines, and always as long."""
_MAX_DIFFERENCE = 1e-3
"""Most that scores may differ from onnxruntime's."""


class Subject:
    """Measures one engine, a round at a time.

    Attributes:
        info: Of the engine.
        target: What its kernels are compiled for.
        samples: Seconds by name; ``outside MODEL`` is a share.
        kernel_byte_length: Of the kernels that are compiled.
    """

    def __init__(self, name: str, inputs: Inputs, expected: dict[str, npt.NDArray[Any]]) -> None:
        self._engine = iwh.open_engine(name)
        self._clocked = ClockedEngine(self._engine)
        self.info = self._engine.info
        self.target = "wasm32-simd128" if Feature.SIMD128 in self.info.features else "wasm32"
        self.samples = Samples()
        self.kernel_byte_length: dict[str, int] = {}
        self._kernels: dict[str, bytes] = {}
        self._cpu: dict[str, Callable[[], float]] = {}
        self._models: dict[str, Callable[[], npt.NDArray[Any]]] = {}
        for model_name in MODELS:
            self._add_model(model_name, getattr(inputs, model_name), expected[model_name])
        self._add_kernels("ocr_detector", inputs.ocr_detector.archive(self.target))
        self._start_from = inputs.magika.archive(self.target), inputs.magika.argument
        self._add_calls()
        self._add_matmul(inputs)
        self._add_products(inputs)
        self._add_tiles(inputs)
        for call in self._cpu.values():
            warm_up(call)

    def round(self, index: int) -> None:
        """Takes samples of everything once."""
        self.samples.take("call", lambda: timed(lambda: self._add(1, 2)))
        self.samples.take("instantiate", self._instantiate)
        self.samples.take("start", self._start)
        if index < _COMPILE_ROUNDS:
            for name in COMPILED:
                self.samples.take(f"compile {name}", partial(self._compile, name))
        for name in MODELS:
            self.samples.take(name, partial(self._model_seconds, name))
        for name, sample in self._cpu.items():
            self.samples.take(name, sample)

    def _add_model(self, name: str, model: Model, expected: npt.NDArray[Any]) -> None:
        archive = model.archive(self.target)
        module = iwh.load(archive, engine=self._clocked)
        self._keep_kernels(name)

        def run() -> npt.NDArray[Any]:
            return np.asarray(module["main"](model.argument))

        np.testing.assert_allclose(run(), expected, rtol=0, atol=_MAX_DIFFERENCE)
        warm_up(run)
        self._models[name] = run

    def _add_kernels(self, name: str, archive: Path) -> None:
        iwh.load(archive, engine=self._clocked).close()
        self._keep_kernels(name)

    def _keep_kernels(self, name: str) -> None:
        """The model's kernel module as the device relinked it; others of the archive are tiny."""
        compiled = self._clocked.clock.compiled
        self._kernels[name] = max(compiled, key=len)
        self.kernel_byte_length[name] = len(self._kernels[name])
        compiled.clear()

    def _add_calls(self) -> None:
        memory = self._engine.create_memory(MemoryType(1, 1))
        integers = self._engine.compile(load_module("integers"))
        self._integers = self._engine.instantiate(integers, memory)
        self._add = self._integers.function("i32_add")
        self._memory = self._engine.create_memory(self._clocked.clock.memory_types[0])
        self._program = self._engine.compile(self._kernels["magika"])

    def _add_matmul(self, inputs: Inputs) -> None:
        factors = inputs.factors
        module = iwh.load(inputs.matmul[self.target], engine=self._clocked)

        def run() -> npt.NDArray[Any]:
            return np.asarray(module["main"](factors.left, factors.right))

        np.testing.assert_array_equal(run(), factors.product)
        self._cpu["linalg.matmul"] = partial(self._in_wasm, run)

    def _add_products(self, inputs: Inputs) -> None:
        products = StockProducts(inputs.products[self.target], self._clocked, inputs.factors)
        for tile in STOCK_TILES:
            products.check(tile)
            self._cpu[tile.name] = partial(self._in_wasm, partial(products.run, tile))

    def _add_tiles(self, inputs: Inputs) -> None:
        features = self.info.features
        for tile in TILES:
            if tile.features <= features:
                product = TileProduct(self._engine, tile, inputs.factors)
                np.testing.assert_array_equal(product.run(), inputs.factors.product)
                self._cpu[tile.name] = product.seconds
        if (TILES[0].features | {Feature.THREADS, Feature.SHARED_MEMORY}) <= features:
            product = TileProduct(self._engine, TILES[0], inputs.factors, shared=True)
            np.testing.assert_array_equal(product.run(), inputs.factors.product)
            for count, name in SHARED_ROWS.items():
                self._cpu[name] = partial(product.shared_seconds, count)

    def _in_wasm(self, run: Callable[[], object]) -> float:
        self._clocked.clock.reset()
        run()
        return self._clocked.clock.seconds

    def _model_seconds(self, name: str) -> float:
        clock = self._clocked.clock
        clock.reset()
        total = cpu_seconds(self._models[name])
        in_wasm = clock.seconds - clock.calls * self.samples.median("call")
        self.samples.add(f"outside {name}", 1 - in_wasm / total)
        return total

    def _instantiate(self) -> float:
        instances = []
        taken = timed(
            lambda: instances.append(self._engine.instantiate(self._program, self._memory))
        )
        instances[0].close()
        return taken

    def _compile(self, name: str) -> float:
        # A custom section that is different each time: some engines know a module that they have
        # compiled before by its bytes.
        content = b"\x01n" + np.random.default_rng().bytes(8)
        wasm = self._kernels[name] + b"\x00" + bytes([len(content)]) + content
        programs = []
        taken = timed(lambda: programs.append(self._engine.compile(wasm)))
        programs[0].close()
        return taken

    def _start(self) -> float:
        archive, argument = self._start_from

        def start() -> None:
            with iwh.load(archive, engine=self._engine, cache=False) as module:
                module["main"](argument)

        return timed(start)
