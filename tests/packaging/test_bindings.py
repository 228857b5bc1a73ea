"""What is generated from the C declarations of the plugins is current."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[2] / "plugins"
NAMES = [path.parent.name for path in sorted(PLUGINS.glob("*/declarations.h"))]


@pytest.mark.parametrize("name", NAMES)
def test_bindings_are_current(name: str, tmp_path: Path) -> None:
    generator = runpy.run_path(str(PLUGINS / "generate_bindings.py"))
    generator["generate"](name, tmp_path / "_bindings.py")
    current = generator["bindings_path"](name).read_text()
    assert (tmp_path / "_bindings.py").read_text() == current
