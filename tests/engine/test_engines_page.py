"""README.md and docs/engines.md say what the engines of this machine say of themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from engine_documents import (
    DATA,
    DOCUMENTS,
    available_infos,
    document,
    format_data,
    read_data,
    replace_section,
)

from iree_wasm_hal.engine import Feature

if TYPE_CHECKING:
    from pathlib import Path

_UPDATE = "run: python tests/engine/engine_documents.py"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_pages_show_the_data(path: Path) -> None:
    assert path.read_text() == document(path, read_data()), _UPDATE


def test_data_is_in_its_own_form() -> None:
    assert DATA.read_text() == format_data(read_data()), _UPDATE


def test_data_is_what_the_engines_say() -> None:
    """A newer version may do the same; engines that are absent were asked where they were."""
    data = read_data()
    for name, info in available_infos().items():
        assert name in data, _UPDATE
        assert data[name].features == info.features, f"{name}: {_UPDATE}"
        assert data[name].memory_model == info.memory_model
        assert data[name].notes == info.notes, f"{name}: {_UPDATE}"


def test_every_missing_feature_has_its_reason() -> None:
    for name, info in read_data().items():
        lacking = {feature for feature in info.notes if feature not in info.features}
        unexplained = set(Feature) - info.features - lacking
        assert not unexplained, name
        assert all(note.strip() for note in info.notes.values()), name


def test_a_section_is_found_once() -> None:
    text = "a\n<!-- generated: x -->\nold\n<!-- end of x -->\nb"
    assert replace_section(text, "x", "new") == (
        "a\n<!-- generated: x -->\n\nnew\n\n<!-- end of x -->\nb"
    )
    with pytest.raises(ValueError, match="marked 0 times"):
        replace_section(text, "y", "new")
    with pytest.raises(ValueError, match="marked 2 times"):
        replace_section(text + text, "x", "new")
