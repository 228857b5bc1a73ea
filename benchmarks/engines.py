"""The engines beside each other, in one run: calls, compilation, a matrix product, Magika.

usage: python benchmarks/engines.py [--engine A,B] [--rounds N] [--json FILE|-]

The same archives run on every engine: those with 128-bit vectors, and scalar ones where an engine
has no SIMD. The engines take turns, a round each; medians are printed. Engines that compile in
tiers are warmed up first.

Columns: ``call``: of a function of two i32 that returns one. ``instantiate`` and ``compile``: of
Magika's kernels; an engine that compiles lazily does its work later, which shows in ``start``:
from the archive to Magika's first result. ``matmul``: 512x512x512 f32, the time of the submission
that contains the kernel. ``magika``: numpy to numpy; ``outside``: how much of that is not spent in
wasm, which is the time of the calls into the engine less what as many empty calls cost.

``matmul`` and ``magika`` are CPU time of the process: on an idle machine that is the time on the
clock, since one thread works and none waits, and on a busy one it is still right.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
from clocked_engine import ClockedEngine

import iree_wasm_hal as iwh
from iree_wasm_hal.engine import Feature, MemoryType, list_engines
from iree_wasm_hal.engine.conformance.suite import load_module

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

sys.path.append(str(Path(__file__).parents[1] / "demos"))
from magika_features import MODEL_PATH
from model_files import compiled, package_file

MATMUL_SIZE = 512
MATMUL_FLOP = 2 * MATMUL_SIZE**3
MAGIKA_INPUT: dict[str, tuple[int, ...]] = {"bytes": (1, 2048)}
MAX_DIFFERENCE = 1e-3
"""Most that Magika's scores may differ from onnxruntime's."""
OUTSIDE_LIMIT = 0.05
REFERENCE = "wasmtime"
ROUND_S = 0.1
"""Time for one kind of call in one round; slow engines make one call."""
WARM_UP_S = 5.0
BUSY = 1.3
"""Load average above which other processes have shared the processor."""
STEADY_CALLS = 20
MAX_SAMPLES = 1000

Samples = dict[str, list[float]]


@dataclass
class Figures:
    """What is found out about one engine."""

    version: str
    target: str
    call_us: float
    instantiate_us: float
    compile_mb_per_s: float
    start_ms: float
    matmul_gflop_per_s: float
    magika_ms: float
    outside_share: float
    matmul_ratio: float | None = None
    """Time of the product as a multiple of the reference engine's."""
    magika_ratio: float | None = None


class Inputs:
    """Archives and what they must compute."""

    def __init__(self) -> None:
        source = Path(__file__).parent / "matmul.mlir"
        magika = package_file("magika", MODEL_PATH)
        self.archives = {
            target: (compiled(source, target=target), compiled(magika, MAGIKA_INPUT, target))
            for target in ("wasm32", "wasm32-simd128")
        }
        random = np.random.default_rng(7)
        # Small whole numbers: every order of the additions gives the same bits.
        shape = (MATMUL_SIZE, MATMUL_SIZE)
        self.factors = [random.integers(-8, 9, shape).astype(np.float32) for _ in range(2)]
        self.product: npt.NDArray[np.float32] = self.factors[0] @ self.factors[1]
        self.tokens = random.integers(0, 256, (1, 2048)).astype(np.int32)
        session = onnxruntime.InferenceSession(magika, providers=["CPUExecutionProvider"])
        (self.scores,) = session.run(["target_label"], {"bytes": self.tokens})


class Subject:
    """One engine with both programs loaded, checked and warm."""

    def __init__(self, name: str, inputs: Inputs) -> None:
        self._inputs = inputs
        self._engine = iwh.open_engine(name)
        self._clocked = ClockedEngine(self._engine)
        self.info = self._engine.info
        self.target = "wasm32-simd128" if Feature.SIMD128 in self.info.features else "wasm32"
        matmul, self._magika_archive = inputs.archives[self.target]
        self._matmul = iwh.load(matmul, engine=self._clocked)
        self._magika = iwh.load(self._magika_archive, engine=self._clocked)
        clock = self._clocked.clock
        self._kernels = clock.compiled[-1]
        self._memory = self._engine.create_memory(clock.memory_types[-1])
        self._program = self._engine.compile(self._kernels)
        self._integers = self._engine.instantiate(
            self._engine.compile(load_module("integers")),
            self._engine.create_memory(MemoryType(1, 1)),
        )
        self._add = self._integers.function("i32_add")
        self.samples: Samples = {}
        self._check()
        for call in (self._run_matmul, self._run_magika):
            warm_up(call)

    def round(self) -> None:
        """Takes samples of everything once."""
        self._take("call", lambda: timed(lambda: self._add(1, 2)))
        call_s = statistics.median(self.samples["call"])
        self._take("instantiate", self._instantiate)
        self._take("compile", self._compile)
        self._take("matmul", self._matmul_sample)
        self._take("start", self._start)
        self._take("magika", lambda: self._magika_sample(call_s))

    def figures(self) -> Figures:
        """Medians over all rounds."""
        median = {name: statistics.median(values) for name, values in self.samples.items()}
        return Figures(
            version=self.info.version,
            target=self.target,
            call_us=median["call"] * 1e6,
            instantiate_us=median["instantiate"] * 1e6,
            compile_mb_per_s=len(self._kernels) / 1e6 / median["compile"],
            start_ms=median["start"] * 1e3,
            matmul_gflop_per_s=MATMUL_FLOP / 1e9 / median["matmul"],
            magika_ms=median["magika"] * 1e3,
            outside_share=median["outside"],
        )

    def _check(self) -> None:
        np.testing.assert_array_equal(self._run_matmul(), self._inputs.product)
        np.testing.assert_allclose(
            self._run_magika(), self._inputs.scores, rtol=0, atol=MAX_DIFFERENCE
        )

    def _run_matmul(self) -> npt.NDArray[np.float32]:
        return np.asarray(self._matmul.main(*self._inputs.factors))

    def _run_magika(self) -> npt.NDArray[np.float32]:
        return np.asarray(self._magika.main(self._inputs.tokens))

    def _matmul_sample(self) -> float:
        self._clocked.clock.reset()
        self._run_matmul()
        return self._clocked.clock.seconds

    def _magika_sample(self, call_s: float) -> float:
        clock = self._clocked.clock
        clock.reset()
        start = time.process_time()
        self._run_magika()
        total = time.process_time() - start
        in_wasm = clock.seconds - clock.calls * call_s
        self._add_sample("outside", 1 - in_wasm / total)
        return total

    def _instantiate(self) -> float:
        start = time.perf_counter()
        instance = self._engine.instantiate(self._program, self._memory)
        taken = time.perf_counter() - start
        instance.close()
        return taken

    def _compile(self) -> float:
        # A custom section that is different each time: some engines know a module that they have
        # compiled before by its bytes.
        content = b"\x01n" + time.perf_counter_ns().to_bytes(8, "little")
        wasm = self._kernels + b"\x00" + bytes([len(content)]) + content
        start = time.perf_counter()
        program = self._engine.compile(wasm)
        taken = time.perf_counter() - start
        program.close()
        return taken

    def _start(self) -> float:
        start = time.perf_counter()
        with iwh.load(self._magika_archive, engine=self._engine) as module:
            module.main(self._inputs.tokens)
            return time.perf_counter() - start

    def _take(self, name: str, sample: Callable[[], float]) -> None:
        for value in repeated(sample):
            self._add_sample(name, value)

    def _add_sample(self, name: str, value: float) -> None:
        self.samples.setdefault(name, []).append(value)


def timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def repeated(sample: Callable[[], float]) -> list[float]:
    """Samples for one round."""
    end = time.perf_counter() + ROUND_S
    samples = [sample()]
    while time.perf_counter() < end and len(samples) < MAX_SAMPLES:
        samples.append(sample())
    return samples


def warm_up(call: Callable[[], object]) -> None:
    """Calls until the best time has not fallen for a while."""
    end = time.perf_counter() + WARM_UP_S
    best, since = float("inf"), 0
    while since < STEADY_CALLS and time.perf_counter() < end:
        taken = timed(call)
        since = since + 1 if taken > 0.97 * best else 0
        best = min(best, taken)


def measure(names: list[str], rounds: int) -> dict[str, Figures]:
    """Rounds of all engines in turns."""
    inputs = Inputs()
    subjects = {name: Subject(name, inputs) for name in names}
    for _ in range(rounds):
        for subject in subjects.values():
            subject.round()
    results = {name: subject.figures() for name, subject in subjects.items()}
    reference = results.get(REFERENCE)
    for figures in results.values():
        if reference is not None:
            figures.matmul_ratio = reference.matmul_gflop_per_s / figures.matmul_gflop_per_s
            figures.magika_ratio = figures.magika_ms / reference.magika_ms
    return results


def print_table(results: dict[str, Figures]) -> None:
    print(
        f"{'':<22}{'call':>9}{'instantiate':>13}{'compile':>11}{'start':>10}"
        f"{'matmul':>11}{'':>7}{'magika':>10}{'':>7}{'outside':>9}"
    )
    print(
        f"{'engine':<22}{'us':>9}{'us':>13}{'MB/s':>11}{'ms':>10}"
        f"{'GFLOP/s':>11}{'x':>7}{'ms':>10}{'x':>7}{'%':>9}"
    )
    for name, row in results.items():
        print(
            f"{f'{name} {row.version}':<22}{row.call_us:>9.2f}{row.instantiate_us:>13.1f}"
            f"{row.compile_mb_per_s:>11.2f}{row.start_ms:>10.1f}{row.matmul_gflop_per_s:>11.2f}"
            f"{_ratio(row.matmul_ratio):>7}{row.magika_ms:>10.2f}{_ratio(row.magika_ratio):>7}"
            f"{row.outside_share * 100:>9.2f}"
        )
    scalar = [name for name, row in results.items() if row.target == "wasm32"]
    if scalar:
        print(f"scalar kernels: {', '.join(scalar)}")
    print(f"x: time as a multiple of {REFERENCE}'s")
    load = os.getloadavg()[0]
    if load > BUSY:
        print(
            f"other processes were running (load {load:.1f}): the first four columns are too high"
        )
    over = [name for name, row in results.items() if row.outside_share > OUTSIDE_LIMIT]
    verdict = f"missed by {', '.join(over)}" if over else "met"
    print(f"at most {OUTSIDE_LIMIT:.0%} of Magika's time outside wasm: {verdict}")


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--engine", help="names, with commas; all that are installed by default")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    names = options.engine.split(",") if options.engine else installed_engines()
    results = measure(names, options.rounds)
    document = {name: asdict(row) for name, row in results.items()}
    if options.json == "-":
        print(json.dumps(document, indent=2))
        return 0
    if options.json:
        Path(options.json).write_text(json.dumps(document, indent=2) + "\n")
    print_table(results)
    return 0


def installed_engines() -> list[str]:
    """Those that run wasm."""
    return [record.name for record in list_engines() if record.available and record.name != "null"]


if __name__ == "__main__":
    sys.exit(main())
