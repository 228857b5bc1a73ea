"""What one call into wasm costs from Python: median and spread of single calls.

    python benchmarks/engine_call.py [--engine wasmtime] [--calls 20000]

The budget is 2 us for the median of a call with two i32 arguments and an i32 result.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from typing import TYPE_CHECKING

from iree_wasm_hal.engine import MemoryType, open_engine
from iree_wasm_hal.engine.conformance.suite import load_module

if TYPE_CHECKING:
    from iree_wasm_hal.engine import WasmFunction

_CASES: dict[str, tuple[int, ...]] = {
    "nothing": (),
    "i32_identity": (1,),
    "i32_add": (1, 2),
    "i64_add": (2**40, 2),
    "digits": (1, 2, 3, 4, 5, 6, 7, 8),
}


def measure_ns(function: WasmFunction, arguments: tuple[int, ...], call_count: int) -> list[int]:
    """Time of each of many single calls, the cost of reading the clock included."""
    clock = time.perf_counter_ns
    samples = []
    for _ in range(call_count):
        start = clock()
        function(*arguments)
        samples.append(clock() - start)
    return samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--engine", default="wasmtime")
    parser.add_argument("--calls", type=int, default=20_000)
    arguments = parser.parse_args()
    engine = open_engine(arguments.engine)
    memory = engine.create_memory(MemoryType(1, 1))
    instance = engine.instantiate(engine.compile(load_module("integers")), memory)
    print(f"{engine.info.name} {engine.info.version}, Python {platform.python_version()}")
    print(f"{'function':<14}{'p10 us':>9}{'median us':>11}{'p90 us':>9}")
    for name, values in _CASES.items():
        samples = measure_ns(instance.function(name), values, arguments.calls)
        cuts = statistics.quantiles(samples, n=10)
        print(f"{name:<14}{cuts[0] / 1e3:>9.2f}{cuts[4] / 1e3:>11.2f}{cuts[8] / 1e3:>9.2f}")


if __name__ == "__main__":
    main()
