"""What threads give: each line two things measured in turns, one ratio or difference of medians.

Prints the table of docs/threads.md.

usage: python benchmarks/threads.py [--engine A,B] [--rounds N] [--json FILE|-]

``one call``: a call with two threads against one with one thread. ``two calls``: two modules with
one thread each, called at once, against calls of one of them alone. ``waking and joining``: what a
submission of some 0.5 ms takes with two threads, above half of what its kernels take with one. The
helper waits in wasm, where it spins for a while and then sleeps; one that sleeps wakes as
fast as the system wakes it: what it does meanwhile, the other does. ``two empty workgroups``: what
a call costs that has nothing worth sharing, as it is, and with the sharing forced upon it: that is
what it costs to wake or tell a helper, and to join it. ``one workgroup``: a call with nothing to
share.

``machine`` is what two threads have here at all. If native code that shares nothing gets less than
1.95 x, something else is running, and the rest says little. Real-time priority helps (``chrt -f 5
python ...``; there are pauses, because the system takes such threads off the processor when they
never rest). A virtual machine's cores may be neighbours at one time (40 ns) and far from each other
at another (200 ns); what one worker wrote and another reads then takes as much longer.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "demos"))
from engine_speed.inputs import Model, ocr_detector, transformer
from engine_speed.timing import timed
from engine_speed.two_cores import AtOnce, Call, crossing_s, hash_much, waking_s
from model_files import compiled

import iree_wasm_hal as iwh
from iree_wasm_hal.engine import Engine, Feature
from iree_wasm_hal.hal.sharing import Sharing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MODELS: dict[str, Callable[[], Model]] = {
    "PP-OCR detector 640x640": ocr_detector,
    "6-layer encoder, 128 tokens": transformer,
}
LEAST_GAIN = 1.75
LEAST_THROUGHPUT = 1.8
MOST_WAKING_US = 20.0
MOST_TRIVIAL = 1.3
_REST = 0.1
"""Pause after a call, of the time it took."""
_ASLEEP_S = 0.005
"""Pause after which a parked helper sleeps."""
_CALLS_AT_ONCE = 3
_IN_A_ROW = 20
_SMALL_ROUNDS = 10
"""Rounds of small calls for each round of a model."""


@dataclass(frozen=True)
class Line:
    """A figure, and the bound that it should meet."""

    engine: str
    what: str
    one: str
    two: str
    value: float
    unit: str
    bound: str = ""
    is_met: bool = True

    def __str__(self) -> str:
        verdict = f"{self.bound} {'met' if self.is_met else 'MISSED'}" if self.bound else ""
        value = f"{self.value:.2f} x" if self.unit == "x" else f"{self.value:.1f} {self.unit}"
        return row(self.engine, self.what, self.one, self.two, value, verdict)


def row(engine: str, what: str, one: str, two: str, value: str, verdict: str) -> str:
    """Of a table in Markdown."""
    numbers = f"{one:>10} | {two:>10} | {value:>9}"
    return f"| {engine:9} | {what:45} | {numbers} | {verdict} |"


def in_turns(calls: dict[str, Call], rounds: int, pause_s: float = 0.0) -> dict[str, float]:
    """Median seconds of each call, with a pause before each."""
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
        call()
    taken = 0.0
    for _ in range(rounds):
        for name, call in calls.items():
            # The pause is part of what is measured: helpers fall asleep, the processor cools.
            time.sleep(max(pause_s, _REST * taken))
            taken = timed(call)
            samples[name].append(taken)
    return {name: statistics.median(values) for name, values in samples.items()}


def in_a_row(calls: dict[str, Call], rounds: int) -> dict[str, float]:
    """Median seconds of each call, right after another one of its kind."""
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            call()
            call()
            samples[name] += [timed(call) for _ in range(_IN_A_ROW)]
            time.sleep(_ASLEEP_S)  # the other call's helpers must not spin beside this one's
    return {name: statistics.median(values) for name, values in samples.items()}


def gain(samples: dict[str, float]) -> float:
    return samples["one"] / samples["two"]


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"


def microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:.1f} us"


def throughput(calls: tuple[Call, Call], rounds: int) -> tuple[dict[str, float], float]:
    """Median seconds of both kinds, and how many times as much two do as one in the same time."""
    both = AtOnce(calls, _CALLS_AT_ONCE)
    try:
        samples = in_turns({"one": both.one, "two": both.two}, rounds)
    finally:
        both.close()
    return samples, 2 * gain(samples)


def machine_lines(rounds: int) -> Iterator[Line]:
    samples, value = throughput((hash_much, hash_much), rounds)
    one, two = (milliseconds(samples[name]) for name in ("one", "two"))
    yield Line("machine", "two calls: native code that shares nothing", one, two, value, "x")
    with contextlib.closing(iwh.open_engine("wasmtime")) as engine:
        nanoseconds = 1e9 * statistics.median(crossing_s(engine) for _ in range(5))
        woken_us = 1e6 * waking_s(engine)
    yield Line("machine", "a write of one core reaches the other", "", "", nanoseconds, "ns")
    yield Line("machine", "a thread that sleeps in wasm wakes", "", "", woken_us, "us")


def model_lines(
    engine: Engine, name: str, model: Model, target: str, rounds: int
) -> Iterator[Line]:
    """What a second thread gives one call, and what a second module gives two."""
    archive = model.archive(target)

    def call(module: Any) -> Call:
        function = module["main"]
        return lambda: function(model.argument)

    if Feature.THREADS in engine.info.features:
        with (
            iwh.load(archive, engine=engine) as alone,
            iwh.load(archive, engine=engine, threads=2) as helped,
        ):
            samples = in_turns({"one": call(alone), "two": call(helped)}, rounds)
        one, two, value = *map(milliseconds, samples.values()), gain(samples)
        bound, is_met = f">= {LEAST_GAIN}", value >= LEAST_GAIN
        yield Line(engine.info.name, f"one call: {name}", one, two, value, "x", bound, is_met)
    name_or_engine = engine if Feature.THREADS in engine.info.features else engine.info.name
    with iwh.load_pool(archive, size=2, engine=name_or_engine) as pool:
        first, second = pool.modules
        samples, value = throughput((call(first), call(second)), max(3, rounds // 2))
    one, two = (milliseconds(samples[which] / _CALLS_AT_ONCE) for which in ("one", "two"))
    bound, is_met = f">= {LEAST_THROUGHPUT}", value >= LEAST_THROUGHPUT
    yield Line(engine.info.name, f"two calls: {name}", one, two, value, "x", bound, is_met)


def _stay_as_you_are(_sharing: Sharing, _taken_s: float) -> None:
    """In place of ``Sharing.note``: a submission is shared until something speaks against it."""


def forced_lines(engine: Engine, rounds: int) -> Iterator[Line]:
    """What it costs to share a submission of no work, which is otherwise not shared."""
    archive = compiled(Path(__file__).with_name("thread_gain.mlir"))
    argument = np.ones(8192, np.float32)
    with (
        mock.patch.object(Sharing, "note", _stay_as_you_are),
        iwh.load(archive, engine=engine) as alone,
        iwh.load(archive, engine=engine, threads=2) as helped,
    ):
        calls: dict[str, Call] = {
            "one": lambda: alone.short(argument),
            "two": lambda: helped.short(argument),
        }
        for when in ("spins", "sleeps"):
            samples = (
                in_a_row(calls, rounds) if when == "spins" else in_turns(calls, rounds, _ASLEEP_S)
            )
            cost = samples["two"] - samples["one"]
            yield waking(engine, f"two empty workgroups, shared, {when}", samples, cost)


def small_lines(engine: Engine, rounds: int) -> Iterator[Line]:
    """What the second thread costs calls that take microseconds."""
    archive = compiled(Path(__file__).with_name("thread_gain.mlir"))
    small, large = np.ones(4, np.float32), np.ones(8192, np.float32)
    with (
        iwh.load(archive, engine=engine) as alone,
        iwh.load(archive, engine=engine, threads=2) as helped,
    ):

        def calls(name: str, argument: Any) -> dict[str, Call]:
            return {
                "one": lambda: alone[name](argument),
                "two": lambda: helped[name](argument),
            }

        both = {f"{key} short": call for key, call in calls("short", large).items()}
        both.update(calls("long", large))
        for when in ("spins", "sleeps"):
            if when == "spins":
                samples = in_a_row(both, rounds)
            else:
                samples = in_turns(both, rounds, _ASLEEP_S)
            kernels = samples["one"] - samples["one short"]
            cost = samples["two"] - samples["one"] + kernels / 2
            yield waking(engine, f"waking and joining, helper {when}", samples, cost)
            samples = {"one": samples["one short"], "two": samples["two short"]}
            cost = samples["two"] - samples["one"]
            yield waking(engine, f"two empty workgroups, helper {when}", samples, cost)
        samples = in_a_row(calls("trivial", small), rounds)
    one, two, value = *map(microseconds, samples.values()), 1 / gain(samples)
    bound, is_met = f"<= {MOST_TRIVIAL}", value <= MOST_TRIVIAL
    yield Line(
        engine.info.name, "one workgroup (trivial call)", one, two, value, "x", bound, is_met
    )


def waking(engine: Engine, what: str, samples: dict[str, float], cost_s: float) -> Line:
    one, two = (microseconds(samples[name]) for name in ("one", "two"))
    cost_us = cost_s * 1e6
    bound, is_met = f"<= {MOST_WAKING_US:.0f}", cost_us <= MOST_WAKING_US
    return Line(engine.info.name, what, one, two, cost_us, "us", bound, is_met)


def lines(names: list[str], rounds: int) -> Iterator[Line]:
    yield from machine_lines(rounds)
    for name in names:
        with contextlib.closing(iwh.open_engine(name)) as engine:
            features = engine.info.features
            target = "wasm32-simd128" if Feature.SIMD128 in features else "wasm32"
            if Feature.WIDE_VECTORS in features:
                target += "-wide"
            for title, model in MODELS.items():
                yield from model_lines(engine, title, model(), target, rounds)
            if Feature.THREADS in features:
                yield from small_lines(engine, rounds * _SMALL_ROUNDS)
                yield from forced_lines(engine, rounds * _SMALL_ROUNDS)
    yield from machine_lines(rounds)


def main() -> int:
    summary = __doc__.splitlines()[0] if __doc__ else None
    parser = argparse.ArgumentParser(description=summary)
    parser.add_argument("--engine", default="wasmtime,wamr-aot", help="names, with commas")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", metavar="FILE", help="- for standard output")
    options = parser.parse_args()
    measured = []
    if options.json != "-":
        print(row("engine", "what", "one thread", "two", "", "bound"))
        print(row("---", "---", "---:", "---:", "---:", "---"))
    for line in lines(options.engine.split(","), options.rounds):
        measured.append(line)
        if options.json != "-":
            print(line, flush=True)
    document = json.dumps([asdict(line) for line in measured], indent=2)
    if options.json == "-":
        print(document)
    elif options.json:
        Path(options.json).write_text(document + "\n")
    return 0 if all(line.is_met for line in measured) else 1


if __name__ == "__main__":
    sys.exit(main())
