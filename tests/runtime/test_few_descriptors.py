"""No descriptors left: an error that says what to do, and none is lost on the way."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import iree_wasm_hal as iwh
from iree_wasm_hal.runtime.source import open_descriptor

FOLDER = Path(__file__).parent
ARCHIVE = FOLDER / "archives" / "model-3.13.vmfb"
PROGRAM = FOLDER / "programs" / "few_descriptors.py"


def test_each_number_of_descriptors_left(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, PROGRAM, ARCHIVE, tmp_path / "cache"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)
    refused = (
        f"LimitError: {ARCHIVE}: cannot be opened: Too many open files. This process may have "
    )
    assert outcomes[0].startswith(refused + "200 files open")
    assert "ulimit -n" in outcomes[0]
    assert outcomes[-1] == "loaded"
    # Each is either: with one left, the file is opened, and cannot be mapped.
    assert all(one == "loaded" or "Too many open files" in one for one in outcomes), outcomes


def test_other_failures_stay_load_errors(tmp_path: Path) -> None:
    with pytest.raises(iwh.LoadError, match=r"missing: cannot be opened: No such file"):
        open_descriptor(str(tmp_path / "missing"))
