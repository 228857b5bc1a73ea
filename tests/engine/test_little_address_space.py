"""Loading where a process may not have the address space that guard pages take."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from available_engines import engine_names

if TYPE_CHECKING:
    from pathlib import Path

_LOAD = """
import resource, sys
import numpy as np
import iree_wasm_hal as iwh
guarded = iwh.open_engine("wamr-aot")
explicit = iwh.open_engine("wamr-aot", bounds_checks="explicit")
iwh.load(sys.argv[1], engine=explicit).close()  # the compiler is open
limit = int(open("/proc/self/statm").read().split()[0]) * 4096 + 1024**3
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    iwh.load(sys.argv[1], engine=guarded, max_memory_bytes=256 << 20)
except iwh.LimitError as error:
    print(error)
with iwh.load(sys.argv[1], engine=explicit, max_memory_bytes=256 << 20) as module:
    print(module.divide(np.full(4, 84, np.int32), np.full(4, 2, np.int32)))
"""


@pytest.mark.skipif("wamr-aot" not in engine_names(), reason="wamr-aot is not installed")
def test_explicit_checks_work_where_guard_pages_do_not(traps_archive: Path) -> None:
    command = [sys.executable, "-c", _LOAD, str(traps_archive)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    refusal, result = done.stdout.splitlines()
    assert "bytes of address space" in refusal
    assert "bounds_checks='explicit' asks for 268435456 instead" in refusal
    assert result == "[42 42 42 42]"
