"""How much memory a device with a large maximum takes.

Usage: device_footprint.py ENGINE ARCHIVE MAX_MEMORY_BYTES. Prints kilobytes as JSON.
"""

from __future__ import annotations

import json
import sys

import numpy as np
from load_cycles import resident

import iree_wasm_hal as iwh


def main() -> int:
    """The command."""
    engine_name, archive, max_memory_bytes = sys.argv[1:]
    a, b = np.ones((4, 8), np.float32), np.ones((8, 16), np.float32)
    before = resident()["all"]
    module = iwh.load(archive, engine=engine_name, max_memory_bytes=int(max_memory_bytes))
    is_right = bool((module.main(a, b) == 9.5).all())
    limit = module.device.memory.limit
    print(
        json.dumps({"before": before, "with": resident()["all"], "limit": limit, "right": is_right})
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
