"""``load(progress=...)``, on the engine that compiles slowest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from available_engines import engine_names

import iree_wasm_hal as iwh

if TYPE_CHECKING:
    from pathlib import Path

_TELLS = "wamr-aot"


@pytest.mark.skipif(_TELLS not in engine_names(), reason=f"{_TELLS} is not installed")
def test_load_tells_its_progress(traps_archive: Path) -> None:
    told: list[tuple[int, int]] = []

    def tell(*done_and_all: int) -> None:
        told.append((done_and_all[0], done_and_all[1]))

    with iwh.load(traps_archive, engine=_TELLS, progress=tell, cache=False):
        assert told[0][0] == 0
        assert told[-1][0] == told[-1][1] > 0


def test_load_without_reports_is_silent(traps_archive: Path, engine_name: str) -> None:
    """Engines that compile fast enough tell nothing, and none fails because it is asked to."""
    told: list[tuple[int, int]] = []

    def tell(*done_and_all: int) -> None:
        told.append((done_and_all[0], done_and_all[1]))

    iwh.load(traps_archive, engine=engine_name, progress=tell, cache=False).close()
    assert bool(told) == (engine_name == _TELLS)
