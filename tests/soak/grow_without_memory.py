"""Grows a device's memory where the process may have no more, then where it may again.

Usage: grow_without_memory.py ENGINE ARCHIVE. Prints what happened as JSON.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import numpy as np

import iree_wasm_hal as iwh

_SLACK = 48 << 20
_LENGTH = 16_000_000  # 64 MB in, 128 MB out


def main() -> int:
    engine_name, archive = sys.argv[1:]
    small, large = np.arange(1000, dtype=np.int32), np.arange(_LENGTH, dtype=np.int32)
    module = iwh.load(archive, engine=engine_name)
    is_right = [np.array_equal(module["widen"](small), small)]
    outcome: dict[str, object] = {"error": None, "message": ""}
    unlimited = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (_data_bytes() + _SLACK, unlimited[1]))
    try:
        module["widen"](large)
    except iwh.Error as error:
        outcome |= {"error": type(error).__name__, "message": str(error)}
    is_right.append(np.array_equal(module["widen"](small), small))
    resource.setrlimit(resource.RLIMIT_DATA, unlimited)
    outcome["right_after_failure"] = all(is_right)
    outcome["right_with_memory"] = bool(np.array_equal(module["widen"](large), large))
    module.close()
    print(json.dumps(outcome))
    return 0


def _data_bytes() -> int:
    """What the kernel counts against RLIMIT_DATA now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmData in /proc/self/status")


if __name__ == "__main__":
    sys.exit(main())
