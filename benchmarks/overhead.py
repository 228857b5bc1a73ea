"""Host overhead of a trivial call, numpy to numpy, beside iree.runtime's in the same run.

Compiles ``tensor<4xf32> + tensor<4xf32>`` for wasm and for this machine, then calls both in turns
and prints the median time of a call. onnxruntime is measured too where it is installed.

usage: python benchmarks/overhead.py [--engine NAME] [--rounds N] [--json FILE|-]
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

import iree_wasm_hal as iwh

SOURCE = """
func.func @main(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32> {
  %0 = arith.addf %a, %b : tensor<4xf32>
  return %0 : tensor<4xf32>
}
"""
COMMON = ["--iree-hal-target-device=local", "--iree-hal-local-target-device-backends=llvm-cpu"]
WASM = [
    "--iree-llvmcpu-target-triple=wasm32-unknown-unknown",
    "--iree-llvmcpu-link-embedded=false",
    "--iree-llvmcpu-target-cpu-features=+simd128",
]
NATIVE = ["--iree-llvmcpu-target-cpu=host"]
CALLS_PER_ROUND = 20
TARGET_US = 60.0

Array = npt.NDArray[np.float32]
Call = Callable[[Array, Array], object]


def compile_source(directory: Path, name: str, flags: list[str]) -> bytes:
    output = directory / f"{name}.vmfb"
    compiler = Path(sys.executable).parent / "iree-compile"
    command = [str(compiler), "-", "-o", str(output), *COMMON, *flags]
    subprocess.run(command, input=SOURCE, text=True, check=True)
    return output.read_bytes()


def iree_call(archive: bytes) -> Call:
    import iree.runtime as rt  # noqa: PLC0415 - after the modules that are measured first

    module = rt.load_vm_flatbuffer(archive, driver="local-sync")

    def call(a: Array, b: Array) -> object:
        return module.main(a, b).to_host()

    return call


def onnxruntime_call() -> Call | None:
    try:
        import onnx  # noqa: PLC0415 - optional
        import onnxruntime  # noqa: PLC0415 - optional
    except ImportError:
        return None
    info = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [4]) for n in "abc"]
    node = onnx.helper.make_node("Add", ["a", "b"], ["c"])
    graph = onnx.helper.make_graph([node], "add", info[:2], info[2:])
    opset = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return lambda a, b: session.run(None, {"a": a, "b": b})[0]


def measure(calls: dict[str, Call], rounds: int) -> dict[str, dict[str, float]]:
    a, b = np.arange(4, dtype=np.float32), np.ones(4, np.float32)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        np.testing.assert_array_equal(call(a, b), a + b)
        for _ in range(200):
            call(a, b)
    gc.collect()
    for _ in range(rounds):
        for name, call in calls.items():
            for _ in range(CALLS_PER_ROUND):
                start = time.perf_counter_ns()
                call(a, b)
                times[name].append((time.perf_counter_ns() - start) / 1000)
    return {
        name: {
            "median_us": statistics.median(values),
            "p10_us": statistics.quantiles(values, n=10)[0],
            "p90_us": statistics.quantiles(values, n=10)[-1],
        }
        for name, values in times.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", default="wasmtime")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        wasm = compile_source(Path(directory), "wasm", WASM)
        native = compile_source(Path(directory), "native", NATIVE)
    module = iwh.load(wasm, engine=options.engine)
    calls: dict[str, Call] = {
        f"iree_wasm_hal ({options.engine})": module["main"],
        "iree.runtime": iree_call(native),
    }
    onnxruntime = onnxruntime_call()
    if onnxruntime is not None:
        calls["onnxruntime"] = onnxruntime
    results = measure(calls, options.rounds)
    ours = next(iter(results.values()))["median_us"]
    document = {"target_us": TARGET_US, "within_target": ours <= TARGET_US, "results": results}
    if options.json == "-":
        print(json.dumps(document, indent=2))
        return 0
    if options.json:
        Path(options.json).write_text(json.dumps(document, indent=2) + "\n")
    print(f"{'tensor<4xf32> + tensor<4xf32>':32} {'median us':>10} {'p10':>8} {'p90':>8}")
    for name, row in results.items():
        print(f"{name:32} {row['median_us']:10.1f} {row['p10_us']:8.1f} {row['p90_us']:8.1f}")
    print(f"target {TARGET_US:.0f} us: {'met' if ours <= TARGET_US else 'missed'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
