from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

    Model = Callable[..., Any]


@pytest.fixture
def load_model() -> Iterator[Callable[..., Model]]:
    """Compiles an ONNX file for the given input shapes and loads it on wasmtime.

    After the test the first 64 KiB of its memory must be as they were.
    """
    from low_memory import low_memory_unused
    from model_files import compiled

    import iree_wasm_hal as iwh

    with low_memory_unused("wasmtime") as engine:

        def load(model: Path, input_shapes: dict[str, tuple[int, ...]] | None = None) -> Model:
            module = iwh.load(compiled(model, input_shapes), engine=engine)
            function: Model = module["main"]
            return function

        yield load


@pytest.fixture
def random_source() -> np.random.Generator:
    return np.random.default_rng(20240229)
