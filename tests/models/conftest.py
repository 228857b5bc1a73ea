from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

    from iree_wasm_hal.engine import Engine

    Model = Callable[..., Any]

REFERENCE = "wasmtime"


def _engine_names() -> list[str]:
    """The reference, then the engines that rewrite what the compiler wrote the most."""
    from available_engines import engine_names

    from iree_wasm_hal.engine import Feature
    from iree_wasm_hal.engine.known_engines import KNOWN_ENGINES

    merging = [name for name in engine_names() if Feature.WIDE_VECTORS in KNOWN_ENGINES[name]]
    return [REFERENCE, *merging]


def _agreeing(functions: list[Model]) -> Model:
    """Calls all of them; gives the first one's results, of which the others' have every bit."""

    def bits(result: Any) -> list[np.ndarray[Any, Any]]:
        results = result if isinstance(result, tuple) else (result,)
        return [np.ascontiguousarray(one).view(np.uint8) for one in results]

    def call(*arguments: Any) -> Any:
        result, *others = [function(*arguments) for function in functions]
        for other in others:
            for expected, got in zip(bits(result), bits(other), strict=True):
                np.testing.assert_array_equal(got, expected)
        return result

    return call


@pytest.fixture
def load_model() -> Iterator[Callable[..., Model]]:
    """Compiles an ONNX file for the given input shapes and loads it on wasmtime.

    It is also loaded on the engines that merge vector operations, and each call compares the bits
    of all. After the test the first 64 KiB of their memories must be as they were.
    """
    from low_memory import low_memory_unused
    from model_files import compiled

    import iree_wasm_hal as iwh

    with contextlib.ExitStack() as stack:
        engines: list[Engine] = [
            stack.enter_context(low_memory_unused(name)) for name in _engine_names()
        ]

        def load(model: Path, input_shapes: dict[str, tuple[int, ...]] | None = None) -> Model:
            archive = compiled(model, input_shapes)
            return _agreeing([iwh.load(archive, engine=engine)["main"] for engine in engines])

        yield load


@pytest.fixture
def random_source() -> np.random.Generator:
    return np.random.default_rng(20240229)
