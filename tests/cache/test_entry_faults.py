"""Some of each fault that ``entry_faults.py`` counts; ``make cache-faults`` runs many."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent / "programs" / "entry_faults.py"

MEMORY = Path("/dev/shm")
"""A file system whose fsync does not wait for a disk."""


def test_damaged_entries_killed_writers_and_races() -> None:
    counts = {"flips": 120, "kills": 20, "races": 80}
    options = [f"--{name}={count}" for name, count in counts.items()]
    if MEMORY.is_dir():
        options.append(f"--folder={MEMORY}")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert {name: document[name] for name in counts} == counts
    assert document["flips_that_reached_deserialize"] == 0
    assert document["kills_that_left_something_unfinished"] > 0, "killed too early or too late"
