"""How fast kernel code is scanned for the static profile, in MB/s of function bodies.

The first line is what compiled kernels are made of; the second is the worst known: instructions
that the fast pattern does not cover.
"""

from __future__ import annotations

import statistics
import time

from iree_wasm_hal.wasm.instructions import scan_body

CASES = {
    # v128.const, then local.get, i32.load, i32.add.
    "vector and scalar code": b"\xfd\x0c" + bytes(16) + b"\x20\x01\x28\x02\x10\x6a" * 30,
    "branch tables": b"\x41\0\x0e\x80\x01" + bytes(129),
}


def main() -> None:
    for name, piece in CASES.items():
        code = piece * (1_000_000 // len(piece)) + b"\x0b"
        times = []
        for _ in range(7):
            start = time.perf_counter()
            scan_body(code, 0, len(code), index64=False)
            times.append(time.perf_counter() - start)
        print(f"{name:<24} {len(code) / 1e6 / statistics.median(times):8.1f} MB/s")


if __name__ == "__main__":
    main()
