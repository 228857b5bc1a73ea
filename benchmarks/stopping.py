"""How long calls go on after their time-out, or after ``cancel()`` in another thread.

usage: python benchmarks/stopping.py [--engine A,B] [--samples N] [--seconds S] [--json FILE|-]

On every engine that can end a running kernel, with one worker and, where it has threads, with two:
a kernel's tight loop without end, one that streams through memory, a worker that waits at a barrier
for another one that does not come, a loop without end in the host program, and a real model (the
PP-OCR detector at 640x640). ``due``: milliseconds from the moment at which the time is up to the
call's return, or rather to the error in the caller's hands. ``cancel``: from before ``cancel()``
in another thread to the same. After each call the device computes something, which is compared.

On wasmtime, wamr-aot and V8 the worst of all must stay within 100 ms. A busy machine adds what its
threads wait for a core: look at the load, which is printed before and after. The first run compiles
the models, which takes minutes; the next ones load them from the cache.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import math
import os
import queue
import random
import statistics
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "demos"))
from engine_speed.inputs import ocr_detector
from model_files import compiled

import iree_wasm_hal as iwh
from iree_wasm_hal.engine import Feature

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BOUND_MS = 100.0
BOUND_ENGINES = {"wasmtime", "wamr-aot", "v8"}
ENGINES = "wasmtime,wamr-aot,v8,wasmer,wamr"
_SHORTEST_S = 0.002
"""Until a call is ended. How long, is drawn anew each time: it may then be anywhere."""
_LONGEST_S = 0.05
"""Until a model's call is ended."""
_SLOW_S = 1.0
"""What a model's call takes on an engine that is too slow to compare its results."""
_POLL_S = 0.0005
_DEADLOCK_S = 20.0


@dataclass(frozen=True)
class Line:
    """What one kind of call took to end, in milliseconds."""

    engine: str
    workers: int
    what: str
    count: int
    due_median: float
    due_p99: float
    due_worst: float
    cancel_median: float
    cancel_p99: float
    cancel_worst: float

    @property
    def is_met(self) -> bool:
        worst = max(self.due_worst, self.cancel_worst)
        return self.engine not in BOUND_ENGINES or worst <= BOUND_MS

    def __str__(self) -> str:
        due = f"{self.due_median:5.2f} | {self.due_p99:6.2f} | {self.due_worst:6.2f}"
        cancel = f"{self.cancel_median:5.2f} | {self.cancel_p99:6.2f} | {self.cancel_worst:6.2f}"
        verdict = f"<= {BOUND_MS:.0f} {'met' if self.is_met else 'MISSED'}"
        bound = verdict if self.engine in BOUND_ENGINES else ""
        left = f"| {self.engine:8} | {self.workers} | {self.what:20} | {self.count:3} "
        return f"{left}| {due} | {cancel} | {bound} |"


HEADER = (
    "| engine | workers | what runs | calls | due: median | p99 | worst | cancel: median | p99 "
    "| worst | bound |\n| --- | ---: | --- " + "| ---: " * 7 + "| --- |"
)


Job = tuple["iwh.Module", "Callable[[], object]", float]
"""Whose call to cancel, what waits until it has begun, and how many seconds later."""


class Canceller:
    """A thread that cancels calls some time after they have begun."""

    def __init__(self) -> None:
        self._asked_at = math.nan
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._is_done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def start(self, module: iwh.Module, wait: Callable[[], object], delay_s: float) -> None:
        self._is_done.clear()
        self._jobs.put((module, wait, delay_s))

    def wait(self) -> float:
        """When it called ``cancel``."""
        if not self._is_done.wait(_DEADLOCK_S):
            raise TimeoutError("cancel() did not return")
        return self._asked_at

    def close(self) -> None:
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            module, wait, delay_s = job
            wait()
            time.sleep(delay_s)  # so that the call is ended somewhere in its middle
            self._asked_at = time.monotonic()
            module.cancel()
            self._is_done.set()


@dataclass(frozen=True)
class Subject:
    """A call that takes long.

    Attributes:
        what: It runs.
        module: Its own.
        call: Takes ``timeout``.
        prepare: Called before a call; what it returns waits until the call has begun.
        check: Raises where the device does not work.
        longest_s: After which it is ended, at most.
    """

    what: str
    module: iwh.Module
    call: Callable[..., object]
    prepare: Callable[[], Callable[[], object]]
    check: Callable[[], None]
    longest_s: float = 2 * _SHORTEST_S

    def late(self) -> float | None:
        """Seconds after its time was up; None if it was ready before."""
        timeout = self._delay_s()
        start = time.monotonic()
        try:
            self.call(timeout=timeout)
        except iwh.CallTimeoutError:
            late = time.monotonic() - start - timeout
        else:
            return None
        self.check()
        return late

    def cancelled(self, canceller: Canceller) -> float | None:
        """Seconds after ``cancel()``; None if it was ready before."""
        canceller.start(self.module, self.prepare(), self._delay_s())
        try:
            self.call()
        except iwh.InterruptedCallError:
            ended_at = time.monotonic()
        else:
            ended_at = -math.inf
        taken = ended_at - canceller.wait()
        self.check()
        return taken if taken >= 0 else None

    def _delay_s(self) -> float:
        return random.uniform(_SHORTEST_S, self.longest_s)


def measured(
    subject: Subject, engine: str, workers: int, canceller: Canceller, samples: int, seconds: float
) -> Line:
    """The line of one kind of call, ended in both ways in turns: so many times, or so long."""
    dues: list[float] = []
    cancels: list[float] = []
    end = time.monotonic() + seconds
    while len(dues) < samples and (time.monotonic() < end or not (dues and cancels)):
        for values, value in ((dues, subject.late()), (cancels, subject.cancelled(canceller))):
            if value is not None:
                values.append(1e3 * value)
    figures = [*_figures(dues), *_figures(cancels)]
    return Line(engine, workers, subject.what, len(dues), *figures)


def _figures(values: list[float]) -> tuple[float, float, float]:
    values = sorted(values)
    return statistics.median(values), values[math.ceil(0.99 * len(values)) - 1], values[-1]


def subjects(device: iwh.Device, target: str) -> Iterator[Subject]:
    """What is ended, on one device."""
    begun = threading.Event()
    host = iwh.PyModule("host")

    @host.function("begun", "0i_i")
    def note(token: int) -> int:
        begun.set()
        return token

    def prepare() -> Callable[[], object]:
        begun.clear()
        return begun.wait

    values = np.arange(8192, dtype=np.int32)
    endless, halves = np.zeros_like(values), np.where(values < 4096, 0, -1).astype(np.int32)
    numbers, factors = np.ones(1 << 21, np.float32), np.ones((16, 4096), np.float32)
    archive = compiled(Path(__file__).with_suffix(".mlir"), target=target)
    with iwh.load(archive, device=device, modules=[host]) as module:

        def check() -> None:
            if not np.array_equal(module.double(values), 2 * values):
                raise AssertionError("a call was ended, and the device computes something else")

        def subject(what: str, function: Callable[..., object], *arguments: object) -> Subject:
            return Subject(what, module, functools.partial(function, *arguments), prepare, check)

        check()
        yield subject("kernel: a tight loop", module.loop, endless)
        if device.threads > 1:
            yield subject("kernel and a barrier", module.loop, halves)
        yield subject("kernel: reads memory", module.stream, numbers, factors)
        yield subject("host program", module.host_loop, -1)
        yield from model_subjects(device, target, check)


def model_subjects(device: iwh.Device, target: str, check: Callable[[], None]) -> Iterator[Subject]:
    """The detector, ended anywhere; it computes the same before and after, if it is fast."""
    model = ocr_detector()
    with iwh.load(model.archive(target), device=device) as module:

        def prepare() -> Callable[[], object]:
            before = module.statistics.submissions

            def wait() -> None:
                while module.statistics.submissions == before:
                    time.sleep(_POLL_S)  # a count is no event that one could wait for

            return wait

        def result() -> Any:
            try:
                return module.main(model.argument, copy=True, timeout=_SLOW_S)
            except iwh.CallTimeoutError:
                return None

        expected, start = result(), time.monotonic()
        result()
        longest_s = min(_LONGEST_S, 0.8 * (time.monotonic() - start))
        call = functools.partial(module.main, model.argument)
        yield Subject("PP-OCR detector", module, call, prepare, check, longest_s)
        if expected is not None and not np.array_equal(result(), expected):
            raise AssertionError("calls were ended, and the model computes something else")


def lines(names: list[str], samples: int, seconds: float) -> Iterator[Line]:
    with contextlib.closing(Canceller()) as canceller:
        for name in names:
            with contextlib.closing(iwh.open_engine(name)) as engine:
                features = engine.info.features
                target = "wasm32-simd128" + ("-wide" if Feature.WIDE_VECTORS in features else "")
                for workers in (1, 2) if Feature.THREADS in features else (1,):
                    with contextlib.closing(iwh.Device(engine, threads=workers)) as device:
                        for subject in subjects(device, target):
                            yield measured(subject, name, workers, canceller, samples, seconds)


def main() -> int:
    summary = __doc__.splitlines()[0] if __doc__ else None
    parser = argparse.ArgumentParser(description=summary)
    parser.add_argument("--engine", default=ENGINES, help="names, with commas (%(default)s)")
    parser.add_argument("--samples", type=int, default=200, help="of each way to end (%(default)s)")
    parser.add_argument("--seconds", type=float, default=1.5, help="for each line (%(default)s)")
    parser.add_argument("--json", metavar="FILE", help="- for standard output")
    options = parser.parse_args()
    is_quiet = options.json == "-"
    measured_lines = []
    print(f"load {os.getloadavg()[0]:.1f}\n\n{HEADER}", file=sys.stderr if is_quiet else sys.stdout)
    for line in lines(options.engine.split(","), options.samples, options.seconds):
        measured_lines.append(line)
        if not is_quiet:
            print(line, flush=True)
    print(f"\nload {os.getloadavg()[0]:.1f}", file=sys.stderr if is_quiet else sys.stdout)
    document = json.dumps([asdict(line) for line in measured_lines], indent=2)
    if is_quiet:
        print(document)
    elif options.json:
        Path(options.json).write_text(document + "\n")
    return 0 if all(line.is_met for line in measured_lines) else 1


if __name__ == "__main__":
    sys.exit(main())
