from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from wasm_plans import Kernels, compile_kernels

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Kernels]:
    """Compiles ``mlir/<name>.mlir`` for a feature string, once per session."""
    folder = tmp_path_factory.mktemp("kernels")
    cache: dict[tuple[str, str, bool], Kernels] = {}

    def get(name: str, features: str = "+simd128", *, wasm64: bool = False) -> Kernels:
        key = (name, features, wasm64)
        if key not in cache:
            target = folder / f"{name}{features}{'64' if wasm64 else ''}"
            cache[key] = compile_kernels(name, features, target, wasm64=wasm64)
        return cache[key]

    return get
