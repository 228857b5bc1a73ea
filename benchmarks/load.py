"""Loading a 90 MB archive: time against reading the file, and peak memory.

Compiles a program with one constant of 90 MB, then, each in a process of its own, reads the file
into memory and loads it. The kernel is compiled once before the clock starts, so that its
compilation is outside both figures.

With --cache: loading the PP-OCR text detector, cold and warm, on one engine after the other; see
``warm_load.py``. It needs an idle machine, or real-time priority (``chrt -f 5 python ...``).

usage: python benchmarks/load.py [--engine NAME] [--megabytes N] [--json FILE|-]
       python benchmarks/load.py --cache [--engine A,B] [--rounds N] [--json FILE|-]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from warm_load import compare_loads, print_loads

SOURCE = """
util.global private @w = #util.byte_pattern<7> : tensor<{count}xf32>
func.func @first() -> f32 {{
  %c0 = arith.constant 0 : index
  %w = util.global.load @w : tensor<{count}xf32>
  %0 = tensor.extract %w[%c0] : tensor<{count}xf32>
  return %0 : f32
}}
func.func @scale(%a: tensor<{count}xf32>) -> tensor<{count}xf32> {{
  %w = util.global.load @w : tensor<{count}xf32>
  %0 = arith.mulf %a, %w : tensor<{count}xf32>
  return %0 : tensor<{count}xf32>
}}
"""
FLAGS = [
    "--iree-hal-target-device=local",
    "--iree-hal-local-target-device-backends=llvm-cpu",
    "--iree-llvmcpu-target-triple=wasm32-unknown-unknown",
    "--iree-llvmcpu-link-embedded=false",
    "--iree-llvmcpu-target-cpu-features=+simd128",
]
REPEATS = 7
CACHED_ENGINES = "wasmtime,wasmer,wamr-aot"
TIME_LIMIT = 2.0
MEMORY_LIMIT_BYTES = 64 << 20


def compile_archive(path: Path, megabytes: int) -> None:
    compiler = Path(sys.executable).parent / "iree-compile"
    source = SOURCE.format(count=(megabytes << 20) // 4)
    subprocess.run([compiler, "-", "-o", path, *FLAGS], input=source, text=True, check=True)


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def read_file(path: str) -> dict[str, float]:
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        data = Path(path).read_bytes()
        times.append(time.perf_counter() - start)
        del data
    return {"seconds": statistics.median(times)}


def load_file(path: str, engine_name: str) -> dict[str, float]:
    import iree_wasm_hal as iwh  # noqa: PLC0415 - in the process that is measured only
    from iree_wasm_hal.runtime import loader  # noqa: F401, PLC0415 - imports are outside the clock

    engine = iwh.open_engine(engine_name)
    compiling: list[float] = []
    compile_wasm = engine.compile

    def timed_compile(wasm: bytes) -> object:
        start = time.perf_counter()
        program = compile_wasm(wasm)
        compiling.append(time.perf_counter() - start)
        return program

    engine.compile = timed_compile  # type: ignore[method-assign, assignment]  # a clock around it
    before = peak_bytes()
    times, memory = [], 0
    for repeat in range(REPEATS):
        compiling.clear()
        start = time.perf_counter()
        module = iwh.load(path, engine=engine, cache=False)
        times.append(time.perf_counter() - start - sum(compiling))
        if repeat == 0:
            peak = peak_bytes()
            memory = module.device.allocator.statistics.peak
        module.close()
        del module
    return {
        "seconds": statistics.median(times),
        "first_seconds": times[0],
        "peak_bytes": peak,
        "peak_bytes_before": before,
        "linear_memory_bytes": memory,
    }


def in_process(*arguments: str) -> dict[str, float]:
    command = [sys.executable, __file__, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    document: dict[str, float] = json.loads(result.stdout)
    return document


def cold_and_warm(engines: str, rounds: int, json_file: str | None) -> int:
    figures = compare_loads(engines.split(","), rounds)
    document = json.dumps(figures, indent=2)
    if json_file == "-":
        print(document)
        return 0
    if json_file:
        Path(json_file).write_text(document + "\n")
    print_loads(figures)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine")
    parser.add_argument("--cache", action="store_true", help="cold and warm loads of a model")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=90)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--step", nargs=2, metavar=("STEP", "PATH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cache:
        return cold_and_warm(options.engine or CACHED_ENGINES, options.rounds, options.json)
    engine = options.engine or "wasmtime"
    if options.step:
        step, path = options.step
        print(json.dumps(read_file(path) if step == "read" else load_file(path, engine)))
        return 0
    with tempfile.TemporaryDirectory() as directory:
        archive = Path(directory) / "constants.vmfb"
        compile_archive(archive, options.megabytes)
        archive_bytes = archive.stat().st_size
        read = in_process("--step", "read", str(archive))
        load = in_process("--engine", engine, "--step", "load", str(archive))
    ratio = load["seconds"] / read["seconds"]
    extra = load["peak_bytes"] - archive_bytes - load["linear_memory_bytes"]
    document = {
        "archive_bytes": archive_bytes,
        "read": read,
        "load": load,
        "time_ratio": ratio,
        "extra_peak_bytes": extra,
        "within_limits": ratio <= TIME_LIMIT and extra <= MEMORY_LIMIT_BYTES,
    }
    if options.json == "-":
        print(json.dumps(document, indent=2))
        return 0
    if options.json:
        Path(options.json).write_text(json.dumps(document, indent=2) + "\n")
    megabyte = 1 << 20
    print(f"archive                     {archive_bytes / megabyte:8.1f} MB")
    print(f"reading the file            {read['seconds'] * 1000:8.1f} ms")
    print(f"loading it, kernels aside   {load['seconds'] * 1000:8.1f} ms   {ratio:.2f} x")
    print(f"linear memory               {load['linear_memory_bytes'] / megabyte:8.1f} MB")
    print(f"peak memory                 {load['peak_bytes'] / megabyte:8.1f} MB")
    print(f"  beyond archive + memory   {extra / megabyte:8.1f} MB")
    print(f"  of which before loading   {load['peak_bytes_before'] / megabyte:8.1f} MB")
    print(f"limits (2 x, 64 MB): {'met' if document['within_limits'] else 'missed'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
