"""The engines that the tests run on, for what is parametrised with several of them at once.

A test that takes ``engine_name`` runs on each one without this.
"""

from __future__ import annotations

import json
import os


def engine_names() -> list[str]:
    """Engines that open on this machine and run wasm, as the root ``conftest.py`` found them."""
    found: dict[str, str | None] = json.loads(os.environ["IREE_WASM_HAL_TEST_ENGINES"])
    return sorted(name for name, cause in found.items() if cause is None and name != "null")
