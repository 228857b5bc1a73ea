"""Runs the test suite's models with 1, 2, 4 and 8 threads, and holds every bit against the first.

Magika runs ``--repeat`` times with each number of threads, the other models a tenth as often.
Exit status 1 if a bit differs.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

_ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(_ROOT / "demos"), str(Path(__file__).parent)]

from suite_models import MODELS  # noqa: E402 - needs the path
from thread_counts import DifferentBitsError, compare  # noqa: E402 - stays with it

import iree_wasm_hal as iwh  # noqa: E402
from iree_wasm_hal.engine import Engine, Feature, list_engines  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engines", default="", help="names with commas; all that have threads")
    parser.add_argument("--models", default=",".join(MODELS), help="names with commas")
    parser.add_argument("--repeat", type=int, default=1000)
    options = parser.parse_args()
    names = [name for name in options.engines.split(",") if name] or _with_threads()
    failed = False
    for name in names:
        engine = iwh.open_engine(name)
        for model in options.models.split(","):
            repeat = options.repeat if model == "magika" else max(options.repeat // 10, 1)
            failed |= _soak(engine, model, repeat)
        engine.close()
    return int(failed)


def _soak(engine: Engine, model: str, repeat: int) -> bool:
    """Whether a bit differed."""
    start = time.perf_counter()
    try:
        for count, dispatches in compare(MODELS[model](), engine, repeat=repeat):
            took, start = time.perf_counter() - start, time.perf_counter()
            print(
                f"{engine.info.name:<9} {model:<15} {count} threads: {repeat} runs of "
                f"{dispatches // repeat} dispatches, the same bits, {took:.1f} s",
                flush=True,
            )
    except DifferentBitsError as difference:
        print(f"{model}: {difference}", file=sys.stderr, flush=True)
        return True
    return False


def _with_threads() -> list[str]:
    infos = [record.info for record in list_engines() if record.name != "null"]
    return [info.name for info in infos if info and Feature.THREADS in info.features]


if __name__ == "__main__":
    sys.exit(main())
