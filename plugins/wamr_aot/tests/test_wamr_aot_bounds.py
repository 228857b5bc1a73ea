"""The bounds of the other way to check them; ``tests/engine/test_bounds.py`` has the default's."""

from __future__ import annotations

from memory_bounds import check_bounds

from iree_wasm_hal.engine import open_engine


def test_accesses_at_the_edge_with_explicit_checks() -> None:
    check_bounds(open_engine("wamr-aot", bounds_checks="explicit"), "unshared")
