"""A fixed fifth of ONNX's official node tests: what native IREE passes, passes here.

``make test-onnx`` runs all of them. Here native IREE is asked only about what fails, because that
is allowed exactly where native IREE does not pass either.
"""

from __future__ import annotations

import pytest
from case_runner import run_cases
from node_cases import in_fixed_fifth, load_cases

NAMES = [name for name in sorted(load_cases()) if in_fixed_fifth(name)]
PART_COUNT = 8
"""Few, because each loads all tests before it starts; enough to spread over the workers."""


@pytest.mark.parametrize("part", range(PART_COUNT))
def test_what_native_iree_passes(part: int) -> None:
    names = NAMES[part::PART_COUNT]
    ours = run_cases(names, "wasm", 1, lambda _: None)
    failed = [name for name in names if ours[name].status != "passed"]
    native = run_cases(failed, "native", 1, lambda _: None)
    behind = {
        name: f"{ours[name].status}: {ours[name].detail}"
        for name in failed
        if native[name].status == "passed"
    }
    assert not behind


def test_the_fifth_is_a_fifth() -> None:
    assert 0.15 < len(NAMES) / len(load_cases()) < 0.25
    assert NAMES, "the onnx package has no node tests"
