"""What a child process costs, and what several modules give parallel requests.

usage: python benchmarks/processes.py [--engine A,B] [--rounds N] [--json FILE|-]

``load`` is with compiled code in the cache. ``there and back`` is a function that returns its
argument: here one copy in and none out, in a child process a copy into shared memory and one out of
it more each way; ``pipe`` sends the array with ``multiprocessing``'s connections instead, to a
process that sends it back and does nothing else. ``two requests`` are a Magika call in each of two
threads against one in one of them, on a pool of two modules: in this process, and in two others;
``machine`` is the same with native code, and what the rest could reach at this moment.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "demos"))
from engine_speed.inputs import magika
from engine_speed.timing import timed, warm_up
from engine_speed.two_cores import AtOnce, hash_much

import iree_wasm_hal as iwh
from iree_wasm_hal.engine import Feature

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

    Call = Callable[[], object]
    Line = tuple[str, dict[str, float]]

ECHO = """
util.func public @same(%a: !hal.buffer_view) -> !hal.buffer_view {
  util.return %a : !hal.buffer_view
}
"""
ADD = """
func.func @add(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32> {
  %0 = arith.addf %a, %b : tensor<4xf32>
  return %0 : tensor<4xf32>
}
"""
SIZES = {"4 KiB": 1 << 12, "1 MiB": 1 << 20, "64 MiB": 1 << 26}
_CALLS_AT_ONCE = 3
_ENDLESS = None


def in_turns(calls: dict[str, Call], rounds: int) -> dict[str, float]:
    """Median milliseconds of each."""
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            samples[name].append(1e3 * timed(call))
    return {name: statistics.median(values) for name, values in samples.items()}


def echo(connection: Connection) -> None:
    while (array := connection.recv()) is not _ENDLESS:
        connection.send(array)


def load_line(engine: str, archive: bytes, rounds: int) -> Line:
    def load(**options: Any) -> None:
        iwh.load(archive, engine=engine, **options).close()

    calls: dict[str, Call] = {"here": load, "process": lambda: load(isolation="process")}
    return "load and close, ms", in_turns(calls, max(3, rounds // 4))


def trivial_line(engine: str, archive: bytes, rounds: int) -> Line:
    a = np.ones(4, np.float32)
    with (
        iwh.load(archive, engine=engine) as here,
        iwh.load(archive, engine=engine, isolation="process") as far,
    ):
        calls: dict[str, Call] = {
            "here": lambda: here.add(a, a),
            "process": lambda: far.add(a, a),
        }
        return "trivial call, ms", in_turns(calls, 40 * rounds)


def echo_lines(engine: str, archive: bytes, rounds: int) -> Iterator[Line]:
    context = multiprocessing.get_context("spawn")
    near, end = context.Pipe()
    process = context.Process(target=echo, args=(end,))
    process.start()

    def through_pipe(array: np.ndarray[Any, Any]) -> None:
        near.send(array)
        near.recv()

    with (
        iwh.load(archive, engine=engine) as here,
        iwh.load(archive, engine=engine, isolation="process") as far,
    ):
        for name, byte_length in SIZES.items():
            array = np.ones(byte_length // 4, np.float32)
            calls: dict[str, Call] = {
                "here": lambda array=array: here.same(array),  # type: ignore[misc]  # no such type
                "process": lambda array=array: far.same(array),  # type: ignore[misc]
                "pipe": lambda array=array: through_pipe(array),  # type: ignore[misc]
            }
            yield f"{name} there and back, ms", in_turns(calls, max(5, rounds))
    near.send(_ENDLESS)
    process.join()


def throughput(calls: tuple[Call, Call], rounds: int) -> float:
    """How many times as much two threads do as one in the same time."""
    both = AtOnce(calls, _CALLS_AT_ONCE)
    try:
        samples = in_turns({"one": both.one, "two": both.two}, rounds)
    finally:
        both.close()
    return 2 * samples["one"] / samples["two"]


def request_line(engine: str, rounds: int) -> Line:
    model = magika()
    with contextlib.closing(iwh.open_engine(engine)) as opened:
        vectors = Feature.SIMD128 in opened.info.features
    archive = model.archive("wasm32-simd128" if vectors else "wasm32")
    values = {"machine": throughput((hash_much, hash_much), rounds)}
    for name, isolation in (("here", None), ("process", "process")):
        with iwh.load_pool(archive, size=2, engine=engine, isolation=isolation) as pool:
            for module in pool.modules:
                warm_up(lambda module=module: module.main(model.argument))  # type: ignore[misc]

            def call(pool: iwh.ModulePool = pool) -> object:
                return pool.main(model.argument)

            values[name] = throughput((call, call), rounds)
    return "two requests against one, x", values


def lines(engine: str, rounds: int) -> Iterator[Line]:
    archive, add = (iwh.compile(source.encode(), target="wasm32") for source in (ECHO, ADD))
    yield load_line(engine, add, rounds)
    yield trivial_line(engine, add, rounds)
    yield from echo_lines(engine, archive, rounds)
    yield request_line(engine, rounds)


def main() -> int:
    summary = __doc__.splitlines()[0] if __doc__ else None
    parser = argparse.ArgumentParser(description=summary)
    parser.add_argument("--engine", default="wasmtime", help="names, with commas")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", metavar="FILE", help="- for standard output")
    options = parser.parse_args()
    measured = []
    for engine in options.engine.split(","):
        for what, values in lines(engine, options.rounds):
            measured.append({"engine": engine, "what": what, **values})
            if options.json != "-":
                cells = "".join(f"{name} {value:10.3f}   " for name, value in values.items())
                print(f"{engine:9} {what:30} {cells}", flush=True)
    document = json.dumps(measured, indent=2)
    if options.json == "-":
        print(document)
    elif options.json:
        Path(options.json).write_text(document + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
