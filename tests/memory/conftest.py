from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from load_cycles import SOURCE

import iree_wasm_hal as iwh

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def matmul_archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The small program of load_cycles.py for 32-bit and for 64-bit addresses."""
    folder = tmp_path_factory.mktemp("matmul")
    return {
        target: iwh.compile(SOURCE.encode(), output=folder / f"{target}.vmfb", target=target)
        for target in ("wasm32", "wasm64")
    }
