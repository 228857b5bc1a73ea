"""SIMD results, plain and relaxed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from iree_wasm_hal.engine import Feature
from iree_wasm_hal.engine.conformance.suite import SuiteBase, requires

if TYPE_CHECKING:
    from typing import Any

    import numpy.typing as npt

    from iree_wasm_hal.engine import Engine

_A, _B, _C = 64, 128, 192


class VectorTests(SuiteBase):
    """Whole vectors through memory, against numpy."""

    def _run(
        self,
        engine: Engine,
        module: str,
        name: str,
        a: npt.NDArray[Any],
        b: npt.NDArray[Any],
        c: npt.NDArray[Any],
    ) -> npt.NDArray[Any]:
        memory = self.small_memory(engine)
        function = self.instantiate(engine, module, memory).function(name)
        view = memory.view()
        view[_A : _A + 16], view[_B : _B + 16], view[_C : _C + 16] = (
            x.tobytes() for x in (a, b, c)
        )
        function(_A, _B, _C)
        return np.frombuffer(bytes(view[_C : _C + 16]), c.dtype)

    @requires(Feature.SIMD128)
    def test_simd_multiplies_and_adds(self, engine: Engine) -> None:
        a, b, c = _multiply_add_operands()
        result = self._run(engine, "vectors", "multiply_add", a, b, c)
        np.testing.assert_array_equal(result, a * b + c)

    @requires(Feature.RELAXED_MADD)
    def test_relaxed_madd_is_rounded_once_or_twice(self, engine: Engine) -> None:
        a, b, c = _multiply_add_operands()
        result = self._run(engine, "relaxed_madd", "multiply_add", a, b, c)
        fused = (a.astype(np.float64) * b + c).astype(np.float32)  # exact in f64 for these
        assert np.array_equal(result, fused) or np.array_equal(result, a * b + c)

    @requires(Feature.RELAXED_DOT)
    def test_relaxed_dot_of_7_bit_operands(self, engine: Engine) -> None:
        random = np.random.default_rng(1)
        a = random.integers(-128, 128, 16, dtype=np.int8)
        b = random.integers(0, 128, 16, dtype=np.int8)
        c = random.integers(-(2**31), 2**31, 4, dtype=np.int32)
        products = a.astype(np.int32) * b
        expected = (c.astype(np.int64) + products.reshape(4, 4).sum(axis=1)).astype(np.int32)
        result = self._run(engine, "relaxed_dot", "dot_add", a, b, c)
        np.testing.assert_array_equal(result, expected)

    @requires(Feature.RELAXED_SIMD)
    def test_relaxed_swizzle_in_range(self, engine: Engine) -> None:
        random = np.random.default_rng(2)
        a = random.integers(0, 256, 16, dtype=np.uint8)
        b = random.integers(0, 16, 16, dtype=np.uint8)
        result = self._run(engine, "relaxed_swizzle", "swizzle", a, b, np.zeros(16, np.uint8))
        np.testing.assert_array_equal(result, a[b])


def _multiply_add_operands() -> tuple[npt.NDArray[np.float32], ...]:
    """Operands whose products need more than 24 bits, so that one rounding differs from two."""
    a = np.array([1 + 2**-12, 3.1, -1e10, 0.1], np.float32)
    b = np.array([1 + 2**-12, 2.7, 1e-10, 0.1], np.float32)
    c = np.array([-1, 1e-3, 1, -0.01], np.float32)
    return a, b, c
