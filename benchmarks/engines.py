"""The engines beside each other and beside native code, in one run.

usage: python benchmarks/engines.py [--engine A,B] [--rounds N] [--json FILE|-]

The same archives run on every engine: those with 128-bit vectors, and scalar ones where an engine
has no SIMD. The engines take turns, a round each; medians are printed. Engines that compile in
tiers are warmed up first. Results are compared with numpy's and onnxruntime's before.

First table: ``call``: of a function of two i32 that returns one. ``instantiate``: Magika's kernels.
``start``: from Magika's archive to its first result. MB/s: compiling the kernels of three models;
an engine that compiles lazily does its work later, which shows in ``start``.

Second table, models: numpy to numpy, and how much of that is not spent in wasm, which is the time
of the calls into the engine less what as many empty calls cost.

Third table, f32 and int8 matrix products of 512x512x512, one thread unless it says otherwise:
``tile``, hand-written kernels on packed factors; ``mmt4d``, the same as iree-compile emits it;
``linalg.matmul``, what it makes of a plain product. Of the last two, the time in wasm.

onnxruntime runs on one thread in the same rounds. Times are CPU time of the process: on an idle
machine that is the time on the clock, since one thread works and none waits, and on a busy one it
is nearly right. The first table and what several workers do are on the clock and need an idle
machine, or real-time priority (``chrt -f 5 python benchmarks/engines.py``).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import onnxruntime

sys.path.append(str(Path(__file__).parents[1] / "demos"))
from engine_speed import native
from engine_speed.factors import FLOP
from engine_speed.inputs import Inputs
from engine_speed.report import NATIVE_PRODUCTS, Figures, figures_of, print_tables
from engine_speed.subject import MODELS, Subject
from engine_speed.timing import Samples

from iree_wasm_hal.engine import list_engines

BUSY = 1.3
"""Load average above which other processes have shared the processor."""


def measure(names: list[str], rounds: int) -> tuple[Figures, dict[str, Figures]]:
    """Rounds of onnxruntime and of all engines in turns."""
    inputs = Inputs()
    models = {name: getattr(inputs, name) for name in MODELS}
    expected = {
        name: native.one_thread(model.path).run(None, {model.input_name: model.argument})[0]
        for name, model in models.items()
    }
    natives = {
        **{
            name: native.matmul(inputs.factors, packed=packed)
            for name, packed in NATIVE_PRODUCTS.items()
        },
        **{
            name: native.model(model.path, model.input_name, model.argument)
            for name, model in models.items()
        },
    }
    subjects = {name: Subject(name, inputs, expected) for name in names}
    samples = Samples()
    for index in range(rounds):
        for name, sample in natives.items():
            samples.take(name, sample)
        for subject in subjects.values():
            subject.round(index)
    onnx = Figures(
        version=onnxruntime.__version__,
        model_ms={name: samples.median(name) * 1e3 for name in MODELS},
        gflop_per_s={name: FLOP / 1e9 / samples.median(name) for name in NATIVE_PRODUCTS},
    )
    return onnx, {name: figures_of(subject) for name, subject in subjects.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--engine", help="names, with commas; all that are installed by default")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    names = options.engine.split(",") if options.engine else installed_engines()
    onnx, engines = measure(names, options.rounds)
    document = {
        "onnxruntime": asdict(onnx),
        "engines": {name: asdict(row) for name, row in engines.items()},
    }
    if options.json == "-":
        print(json.dumps(document, indent=2))
        return 0
    if options.json:
        Path(options.json).write_text(json.dumps(document, indent=2) + "\n")
    print_tables(onnx, engines)
    load = os.getloadavg()[0]
    if load > BUSY:
        print(f"other processes were running (load {load:.1f}): times on the clock are too high")
    return 0


def installed_engines() -> list[str]:
    """Those that run wasm."""
    return [record.name for record in list_engines() if record.available and record.name != "null"]


if __name__ == "__main__":
    sys.exit(main())
