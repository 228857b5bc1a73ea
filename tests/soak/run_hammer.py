"""Hammers devices from many threads: load, call, unload, grow, trap, time out, cancel.

Prints what was seen and the resident memory over time. Exit status 1: a result was wrong, or an
error came that nobody caused, or memory grew; 3: a thread hung, its stack is on standard error.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

_ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(_ROOT / "demos"), str(Path(__file__).parent)]

from hammer_run import run  # noqa: E402 - needs the path
from resident_memory import give_back_freed_memory  # noqa: E402 - as well

from iree_wasm_hal.engine import list_engines  # noqa: E402 - stays with it


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engines", help="names with commas", default="")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--settling", type=float, help="seconds until memory is flat", default=60)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--growth", type=float, help="largest share that passes", default=0.05)
    options = parser.parse_args()
    give_back_freed_memory()
    names = [name for name in options.engines.split(",") if name] or _available()
    print(f"seed {options.seed}, engines {', '.join(names)}", flush=True)
    outcome = run(
        names,
        seconds=options.seconds,
        seed=options.seed,
        callers=options.callers,
        workers=options.workers,
        window_s=max(options.settling / 6, 1.0),
    )
    for what, count in sorted(outcome.seen.items()):
        print(f"{count:>9} {what}")
    medians = outcome.memory.medians()
    print("resident MB:", *(f"{one / 1e6:.0f}" for one in medians))
    if outcome.failures:
        print(f"seed {options.seed}", *outcome.failures, sep="\n", file=sys.stderr)
        return 1
    growth = outcome.memory.growth(options.settling)
    if growth is None:
        print(f"{options.seconds:g} s are too few to tell whether resident memory is flat")
        return 0
    print(f"resident memory grew by {growth:.1%} after {options.settling:g} s")
    return int(growth > options.growth)


def _available() -> list[str]:
    return [one.name for one in list_engines() if one.available and one.name != "null"]


if __name__ == "__main__":
    sys.exit(main())
