"""docs/simd.md has a column for every engine and a row for every group, and is right on validity.

Times are not tested. That the measured modules compute what they should is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from simd import DOCUMENT, plugin_engines
from simd_ops.cases import Case
from simd_ops.document import Page, read_tables, render, verdict
from simd_ops.groups import SECTIONS
from simd_ops.measure import Result, WrongResultError, check, validates
from simd_ops.program import BYTE_LENGTH, RESULTS, STATES, expected, initial_memory
from simd_ops.tiles import TILES, gflop_per_s

from iree_wasm_hal.engine import Feature, open_engine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iree_wasm_hal.engine import Engine

_GROUPS = [group for groups in SECTIONS.values() for group in groups]


@pytest.fixture(scope="module")
def page() -> Page:
    return read_tables(DOCUMENT.read_text())


@pytest.fixture
def engine(engine_name: str) -> Iterator[Engine]:
    opened = open_engine(engine_name)
    yield opened
    opened.close()


def test_every_engine_has_a_column(page: Page) -> None:
    assert sorted(page.engines) == plugin_engines()


def test_every_group_has_a_row(page: Page) -> None:
    assert list(page.valid) == [group.name for group in _GROUPS]


def test_validity_is_what_the_engine_says(page: Page, engine: Engine) -> None:
    name, version = engine.info.name, engine.info.version
    if page.engines.get(name) != version:
        pytest.skip(f"{name} {version} is installed, the document has {page.engines.get(name)}")
    found = {group.name: validates(engine, group.case) for group in _GROUPS}
    assert {group: row[name] for group, row in page.valid.items()} == found


def test_measured_modules_compute_what_numpy_does(engine: Engine) -> None:
    for group in _GROUPS:
        for case in (group.case, group.plain):
            if validates(engine, case):
                check(engine, group, case)


def test_states_never_return_to_what_they_were() -> None:
    """Or a step that does nothing would pass."""
    for group in _GROUPS:
        for case in (group.case, group.plain):
            initial = initial_memory(group)
            for rounds in (1, 17):
                memory, _ = expected(group, case, rounds)
                rows = [part.reshape(-1, 16) for part in (initial[STATES], memory[RESULTS])]
                before, after = (row[:, : BYTE_LENGTH[case.kind]] for row in rows)
                assert (before != after).any(), (group.name, case.words, rounds)


def test_tiles_compute_what_numpy_does(engine: Engine) -> None:
    """And are valid where their instructions are."""
    speeds = {
        tile: gflop_per_s(engine, tile, call_s=1e-4, repeats=1) for tile in (TILES[0], TILES[-1])
    }
    features = engine.info.features
    needed = {TILES[0]: {Feature.SIMD128}, TILES[-1]: {Feature.SIMD128, Feature.RELAXED_MADD}}
    for tile, speed in speeds.items():
        assert (speed is not None) == (needed[tile] <= features)


def test_a_wrong_result_is_noticed(engine: Engine) -> None:
    group = _GROUPS[0]
    plain = group.plain
    wrong = Case(plain.words, plain.step.replace("f32.add", "f32.sub"), plain.reference, plain.kind)
    with pytest.raises(WrongResultError, match=r"f32\.mul \+ f32\.add: .* bytes differ"):
        check(engine, group, wrong)


def test_no_case_is_its_own_plain_equivalent() -> None:
    for group in _GROUPS:
        case, plain = group.case, group.plain
        assert (case.step, case.total, case.store) != (plain.step, plain.total, plain.store)
        assert case.lanes >= plain.lanes == 1


def test_document_reads_back_what_was_written() -> None:
    """Every verdict, and a group that is valid beside an equivalent that is not."""
    states = [Result(False), Result(True), Result(True, 1, 2), Result(True, 2, 1)]
    engines = {f"engine{index}": "1.0" for index in range(len(states))}
    tables = {group.name: dict(zip(engines, states, strict=True)) for group in _GROUPS}
    tiles = {"4x8": dict.fromkeys(engines, 1.0)}
    text = render(engines, tables, tiles)
    written = read_tables(text)
    assert written.engines == engines
    assert written.valid[_GROUPS[-1].name] == {
        "engine0": False,
        "engine1": True,
        "engine2": True,
        "engine3": True,
    }
    assert "| no | yes | fast 2.00 (1.00) | slow 0.50 (2.00) |" in text


def test_other_documents_are_refused() -> None:
    with pytest.raises(ValueError, match="no table of instructions"):
        read_tables("# SIMD\n")


@pytest.mark.parametrize(
    ("ratio", "word"), [(1.2, "fast"), (1.15, "fast"), (1.1, "even"), (0.9, "even"), (0.8, "slow")]
)
def test_verdict(ratio: float, word: str) -> None:
    assert verdict(ratio) == word


def test_groups_have_names_of_their_own() -> None:
    names = [group.name for group in _GROUPS]
    assert len(set(names)) == len(names)
