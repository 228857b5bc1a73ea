from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    Model = Callable[..., Any]


@pytest.fixture
def load_model() -> Callable[..., Model]:
    """Compiles an ONNX file for the given input shapes and loads it on wasmtime."""
    from model_files import compiled

    import iree_wasm_hal as iwh

    def load(model: Path, input_shapes: dict[str, tuple[int, ...]] | None = None) -> Model:
        module = iwh.load(compiled(model, input_shapes), engine="wasmtime")
        function: Model = module["main"]
        return function

    return load


@pytest.fixture
def random_source() -> np.random.Generator:
    return np.random.default_rng(20240229)
