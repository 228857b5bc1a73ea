"""Every load and store at the edge of the memory: inside it works, outside it traps.

Of an access that lies outside in part, nothing is written. What an engine makes of a load whose
result nobody uses must trap all the same.
"""

from __future__ import annotations

import pytest
from memory_accesses import ACCESSES
from memory_bounds import TYPES, check_bounds

from iree_wasm_hal.engine import Feature, open_engine

_NEEDED = {"shared": Feature.SHARED_MEMORY, "memory64": Feature.MEMORY64}


@pytest.mark.parametrize("type_name", TYPES)
def test_accesses_at_the_edge(engine_name: str, type_name: str) -> None:
    engine = open_engine(engine_name)
    needed = _NEEDED.get(type_name)
    if needed and needed not in engine.info.features:
        pytest.skip(f"{engine_name} has no {needed.value}")
    check_bounds(engine, type_name)


def test_all_instructions_are_there() -> None:
    counts = {
        feature: len([one for one in ACCESSES if one.feature is feature])
        for feature in (None, Feature.SIMD128, Feature.ATOMICS)
    }
    assert counts == {None: 23, Feature.SIMD128: 22, Feature.ATOMICS: 63}
    assert len({access.code for access in ACCESSES}) == 108
