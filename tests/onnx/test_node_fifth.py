"""A fixed fifth of ONNX's official node tests: what native IREE passes, passes here.

``make test-onnx`` runs all of them. Here native IREE is asked only about what fails, because that
is allowed exactly where native IREE does not pass either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from case_runner import CaseServers, run_cases
from node_cases import in_fixed_fifth, load_cases

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = [name for name in sorted(load_cases()) if in_fixed_fifth(name)]
PART_COUNT = 16
"""Enough to spread over the workers, whatever else they run."""


@pytest.fixture(scope="module")
def servers() -> Iterator[CaseServers]:
    """One process that loads all tests before it starts."""
    with CaseServers(1) as started:
        yield started


@pytest.mark.parametrize("part", range(PART_COUNT))
def test_what_native_iree_passes(part: int, servers: CaseServers) -> None:
    names = NAMES[part::PART_COUNT]
    ours = run_cases(names, "wasm", servers, lambda _: None)
    failed = [name for name in names if ours[name].status != "passed"]
    native = run_cases(failed, "native", servers, lambda _: None)
    behind = {
        name: f"{ours[name].status}: {ours[name].detail}"
        for name in failed
        if native[name].status == "passed"
    }
    assert not behind


def test_the_fifth_is_a_fifth() -> None:
    assert 0.15 < len(NAMES) / len(load_cases()) < 0.25
    assert NAMES, "the onnx package has no node tests"
