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
SETTLING = 15
# Not flat yet after so few calls, least of all on a busy machine; a large leak is more.
LARGEST_GROWTH = 0.25


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
    for line in done.stdout.splitlines():
        if line.startswith("resident"):
            record_property("hammer", line)
    seen = {what: int(count) for count, what in re.findall(r"^ +(\d+) (.*)$", done.stdout, re.M)}
    for what in ("call: right", "own device: right", "reload", "trap", "full memory"):
        assert seen.get(what), f"not once: {what}; seen: {seen}"
