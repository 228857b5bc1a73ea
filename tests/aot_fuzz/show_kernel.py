"""Prints a kernel and writes its module: ``show_kernel.py FILE|SEED [WASM]``."""

from __future__ import annotations

import sys
from pathlib import Path

from fuzz_encode import encode_module
from fuzz_generate import generate
from fuzz_kernel import Kernel


def main() -> int:
    """Prints and writes."""
    what, *output = sys.argv[1:]
    kernel = generate(int(what)) if what.isdecimal() else Kernel.from_json(Path(what).read_text())
    print(kernel.to_json())
    if output:
        Path(output[0]).write_bytes(encode_module([kernel]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
