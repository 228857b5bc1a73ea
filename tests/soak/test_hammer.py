"""The hammer for a minute, on every engine of this machine.

Engines share a process, because their signal handlers, memory and locks then meet. It is not this
one, because its resident memory is looked at and a hang ends it. ``make hammer`` runs ten minutes.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from available_engines import engine_names

if TYPE_CHECKING:
    from collections.abc import Callable

HAMMER = Path(__file__).with_name("run_hammer.py")
SECONDS = 60
SEED = 20240229
SETTLING = 30
# Between the halves of the last 30 s; 4 % were seen where there was ten times more to do than there
# were processors for. Of a process with few engines the devices that come and go are a larger part.
# ``make hammer`` allows 5 %, from its second minute on.
LARGEST_GROWTH = 0.10 if len(engine_names()) > 3 else 0.25


def test_eight_threads_hammer_every_engine(
    record_property: Callable[[str, object], None],
) -> None:
    command = [
        *(sys.executable, str(HAMMER), "--engines", ",".join(engine_names()), "--seed", str(SEED)),
        *("--seconds", str(SECONDS), "--settling", str(SETTLING)),
        *("--growth", str(LARGEST_GROWTH)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = [line for line in done.stdout.splitlines() if line.startswith("resident")]
    for line in figures:
        record_property("hammer", line)
    assert "grew by" in figures[-1], "memory was not judged"
    seen = {what: int(count) for count, what in re.findall(r"^ +(\d+) (.*)$", done.stdout, re.M)}
    for what in ("call: right", "own device: right", "reload", "trap", "full memory"):
        assert seen.get(what), f"not once: {what}; seen: {seen}"
