"""Every trap is caught by its own engine, whatever engines opened before or after it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from trap_orders import covering_orders, run_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    found = json.loads(os.environ["IREE_WASM_HAL_TEST_ENGINES"])
    names = [name for name, cause in found.items() if cause is None and name != "null"]
    metafunc.parametrize("order", covering_orders(names, 3), ids=" ".join)


def test_traps_are_caught_in_this_order(order: Sequence[str]) -> None:
    assert run_order(order) is None
