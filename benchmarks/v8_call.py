"""Ways to call a wasm function of two i32 in V8, from mini-racer's own to the plugin's, in one run.

usage: python benchmarks/v8_call.py

Prints the median and the least microseconds per call over rounds in which the ways take turns.
A call crosses to the isolate's thread and back: where that thread last ran decides what that costs,
so absolute figures differ between runs by a factor of two or three.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

import py_mini_racer
from iree_wasm_hal_v8.c_api import ffi
from iree_wasm_hal_v8.instance import V8Instance
from iree_wasm_hal_v8.isolate import NOT_FINISHED
from iree_wasm_hal_v8.library import V8_FLAGS

from iree_wasm_hal.engine import MemoryType, open_engine
from iree_wasm_hal.engine.conformance.suite import load_module

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 15
ROUND_S = 0.05


def mini_racer_ways(racer: py_mini_racer.MiniRacer) -> dict[str, Callable[[], Any]]:
    """mini-racer's Python half."""
    octets = ", ".join(map(str, load_module("integers")))
    racer.eval(
        f"const module = new WebAssembly.Module(new Uint8Array([{octets}]));"
        "const memory = new WebAssembly.Memory({ initial: 1, maximum: 16 });"
        "const add = new WebAssembly.Instance(module, { env: { memory } }).exports.i32_add; 0"
    )
    add: Any = racer.eval("add")
    return {
        "mini-racer, source text": lambda: racer.eval("add(40, 2)"),
        "mini-racer, function object": lambda: add(40, 2),
    }


def c_api_ways(instance: V8Instance) -> dict[str, Callable[[], Any]]:
    """mini-racer's C API by cffi, and the plugin on it."""
    add = instance.function("i32_add")
    isolate = instance.isolate
    assert isolate is not None
    function, lib, context = instance.functions["i32_add"], isolate._lib, isolate._context
    entry, no_arguments = isolate._entry, isolate._no_arguments
    status = ffi.cast("int32_t *", isolate.slots)
    request = isolate._string('["nothing"]')

    def queue() -> None:
        lib.mr_call_function(context, function, entry, no_arguments, context)

    def queue_and_poll() -> None:
        status[0] = NOT_FINISHED
        queue()
        while status[0] == NOT_FINISHED:
            pass

    def synchronous() -> None:
        lib.mr_free_value(context, lib.mr_array_push(context, entry, request))

    return {
        "C API, one task that is waited for (no interruption)": synchronous,
        "C API, queued and polled (keeps the GIL)": queue_and_poll,
        "the plugin: queued, then a task that is waited for": lambda: add(40, 2),
    }


def main() -> None:
    """Runs the ways in turns and prints a line for each."""
    py_mini_racer.init_mini_racer(flags=V8_FLAGS)
    engine = open_engine("v8")
    memory = engine.create_memory(MemoryType(1, 16))
    instance = engine.instantiate(engine.compile(load_module("integers")), memory)
    assert isinstance(instance, V8Instance)
    with py_mini_racer.MiniRacer() as racer:
        ways = mini_racer_ways(racer) | c_api_ways(instance)
        samples: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, call in ways.items():
                count, started = 0, time.perf_counter()
                while time.perf_counter() - started < ROUND_S:
                    call()
                    count += 1
                samples[name].append((time.perf_counter() - started) / count * 1e6)
    print(f"{'us per call':54}{'median':>8}{'least':>8}")
    for name, times in samples.items():
        print(f"{name:54}{statistics.median(times):8.1f}{min(times):8.1f}")


if __name__ == "__main__":
    main()
