"""Which of our modules the engine package and the plugins may import."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_PLUGINS = sorted(path.parent for path in (_ROOT / "plugins").glob("*/pyproject.toml"))


def _imports(folder: Path) -> set[str]:
    names: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"relative import in {path}"
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _ours(names: set[str]) -> set[str]:
    """The first two parts of our own modules' names."""
    return {".".join(name.split(".")[:2]) for name in names if name.startswith("iree_wasm_hal.")}


def test_engine_imports_errors_alone() -> None:
    names = _imports(_ROOT / "iree_wasm_hal" / "engine")
    assert _ours(names) <= {"iree_wasm_hal.engine", "iree_wasm_hal.errors"}
    assert not any(name.startswith("iree_wasm_hal_") for name in names)


@pytest.mark.parametrize("plugin", _PLUGINS, ids=lambda path: path.name)
def test_plugin_imports_contract_and_errors_alone(plugin: Path) -> None:
    package = f"iree_wasm_hal_{plugin.name}"
    names = _imports(plugin / package)
    assert _ours(names) == {"iree_wasm_hal.engine", "iree_wasm_hal.errors"}
    others = {name.split(".")[0] for name in names if name.startswith("iree_wasm_hal_")}
    assert others == {package}
