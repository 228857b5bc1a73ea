"""Compares engines on generated SIMD kernels: wasmtime against the modes of wamr-aot.

Goes on at the seed where the last run ended. A kernel that differs is cut down and stored in
``regressions``, where ``make test`` finds it. Exit status 1 if there was one.
"""

from __future__ import annotations

import argparse
import collections
import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fuzz_found import REGRESSIONS, reduce_and_store
from fuzz_generate import is_relaxed
from fuzz_process import Worker
from fuzz_run import Mode

_STATE = Path(__file__).parents[2] / "build" / "aot_fuzz" / "state.json"
_BATCH = 50
_TIMEOUT_S = 180.0
# Every kernel: widening off, on, and on a shared memory.
_ALWAYS = (
    Mode("wamr-aot", {"vector_bits": 128}),
    Mode("wamr-aot", {"vector_bits": "auto"}),
    Mode("wamr-aot", {"vector_bits": "auto"}, shared=True),
)
# Each of these a part of the kernels.
_IN_TURN = (
    Mode("wamr-aot", {"vector_bits": 256}),
    None,
    Mode("wamr-aot", {"vector_bits": "auto", "bounds_checks": "explicit"}),
    None,
)
_PROGRESS_S = 60.0
# Differences after which a run ends: the first ones are to be looked at.
_ENOUGH = 20


def modes_of(first_seed: int) -> list[Mode]:
    """The modes of the kernels from a seed on."""
    extra = _IN_TURN[first_seed // _BATCH % len(_IN_TURN)]
    return [*_ALWAYS, *([extra] if extra else [])]


class _Run:
    """Batches of seeds on several worker processes."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._engine: str | None = arguments.engine
        self._next: int = arguments.seed
        self._end = arguments.seed + arguments.count if arguments.count else None
        self._deadline = time.monotonic() + arguments.seconds if arguments.seconds else None
        self._lock = threading.Lock()
        self._done: set[int] = set()
        self._keeps_state = not arguments.engine
        self._report_at = time.monotonic() + _PROGRESS_S
        self.first: int = arguments.seed
        self._below: int = self.first
        self.counts: collections.Counter[str] = collections.Counter()
        self.found: list[tuple[int, str]] = []

    def work(self) -> None:
        """Takes batches until the time is over."""
        worker = Worker(_TIMEOUT_S)
        while (first := self._take()) is not None:
            self._batch(worker, first)
        worker.close()

    @property
    def next_seed(self) -> int:
        """Below it everything is done."""
        while self._below in self._done:
            self._below += _BATCH
        return self._below

    def _take(self) -> int | None:
        with self._lock:
            over = self._deadline is not None and time.monotonic() > self._deadline
            if over or len(self.found) >= _ENOUGH or self._next == self._end:
                return None
            self._next += _BATCH
            return self._next - _BATCH

    def _batch(self, worker: Worker, first: int) -> None:
        modes = modes_of(first)
        if self._engine:
            modes = [Mode(self._engine)]
        if not self._engine or not is_relaxed(first):
            differences = worker.run_seeds(range(first, first + _BATCH), modes)
            for mode in modes:
                self.counts[mode.name] += _BATCH
        else:
            differences = []
        by_name = {mode.name: mode for mode in modes}
        seen: set[int] = set()
        for one in differences:
            seed = first + one.index
            print(f"seed {seed}: {one.mode}: {one.kind}: {one.detail}", flush=True)
            if seed in seen:
                continue
            seen.add(seed)
            path = reduce_and_store(seed, one, by_name.get(one.mode, modes[0]), REGRESSIONS)
            print(f"seed {seed}: cut down to {path}", flush=True)
            with self._lock:
                self.found.append((seed, one.mode))
        with self._lock:
            self._done.add(first)
            self._note_progress()

    def _note_progress(self) -> None:
        """Keeps where to go on, and says it now and then."""
        if self._keeps_state:
            _STATE.parent.mkdir(parents=True, exist_ok=True)
            _STATE.write_text(json.dumps({"next_seed": self.next_seed}) + "\n")
        if time.monotonic() > self._report_at:
            self._report_at = time.monotonic() + _PROGRESS_S
            count = _BATCH * len(self._done)
            print(f"{count} kernels, {len(self.found)} differ", file=sys.stderr, flush=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=0, help="how long")
    parser.add_argument("--count", type=int, default=0, help="how many kernels, rounded to 50s")
    parser.add_argument("--seed", type=int, help="first seed; default: where the last run ended")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--engine", help="another engine than wamr-aot, with its default options")
    arguments = parser.parse_args()
    if not arguments.seconds and not arguments.count:
        arguments.seconds = 60
    if arguments.seed is None:
        arguments.seed = json.loads(_STATE.read_text())["next_seed"] if _STATE.exists() else 0
    arguments.seed -= arguments.seed % _BATCH
    arguments.count += -arguments.count % _BATCH
    return arguments


def main() -> int:
    """Runs and reports."""
    arguments = _parse()
    run = _Run(arguments)
    begin = time.monotonic()
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for future in [pool.submit(run.work) for _ in range(arguments.jobs)]:
            future.result()
    for name, count in sorted(run.counts.items()):
        print(f"{name}: {count} kernels")
    kernels = run.next_seed - run.first
    print(f"{kernels} kernels from seed {run.first} in {time.monotonic() - begin:.0f} s, "
          f"{len(run.found)} differ; next seed {run.next_seed}")  # fmt: skip
    return 1 if run.found else 0


if __name__ == "__main__":
    sys.exit(main())
