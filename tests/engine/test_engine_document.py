"""The plugin of docs/adding-an-engine.md, installed from its text and held to its declarations."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from out_of_tree import Site, run_pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_DOCUMENT = Path(__file__).parents[2] / "docs" / "adding-an-engine.md"


def _blocks(language: str) -> Iterator[str]:
    yield from re.findall(rf"^```{language}\n(.*?)^```$", _DOCUMENT.read_text(), re.M | re.S)


@pytest.fixture
def documented(tmp_path: Path) -> Path:
    """The document's files, with the metadata that installing them would write."""
    sources = list(_blocks("python"))
    [project] = _blocks("toml")
    [(engine, module)] = re.findall(r'^(\w+) = "(\w+)"$', project.split("entry-points")[1], re.M)
    [distribution] = re.findall(r'^name = "(.*)"$', project, re.M)
    Site(tmp_path).install(
        engine, "\n\n".join(sources[:-1]), distribution=distribution, module=module
    )
    (tmp_path / "test_minimal.py").write_text(sources[-1])
    return tmp_path


def test_documented_plugin_conforms(documented: Path) -> None:
    outcomes = run_pytest(documented, "test_minimal.py")
    assert outcomes.failed == 0, outcomes.output
    assert outcomes.passed >= 150, outcomes.output
    assert outcomes.skipped >= 10, outcomes.output


def test_documented_features_are_probed(documented: Path) -> None:
    """A feature struck from ``unsupported`` must be noticed."""
    test_file = documented / "test_minimal.py"
    test_file.write_text(test_file.read_text().replace('"memory64": _SMALL,', ""))
    outcomes = run_pytest(documented, "test_minimal.py", "-k", "declared or memory64")
    assert outcomes.failed >= 2, outcomes.output
    assert "test_missing_features_are_declared" in outcomes.output
