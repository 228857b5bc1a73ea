"""Where a model's time goes on each engine: every dispatch on its own.

usage: python benchmarks/dispatches.py [--engine A,B] [--threads N,M] [--target NAME]
                                       [--model magika|squeezenet|detector|transformer]
                                       [--least SHARE]

Each command of a command buffer is submitted by itself, in order, so a model computes what it
always does; the best time of many runs is printed, less that of the shortest command. Shares are
of the first column's sum. Times are CPU time, right on a busy machine too; with several threads
they are on the clock and need an idle one, and a command that is shared bears the waking alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.append(str(Path(__file__).parents[1] / "demos"))
from engine_speed.inputs import Model, magika, ocr_detector, squeezenet, transformer

import iree_wasm_hal as iwh
from iree_wasm_hal.hal.command_buffer import CommandBuffer
from iree_wasm_hal.hal.device import Device

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from iree_wasm_hal.hal.fence import Fence
    from iree_wasm_hal.hal.submission import Binding

_MODELS: dict[str, Callable[[], Model]] = {
    "magika": magika,
    "squeezenet": squeezenet,
    "detector": ocr_detector,
    "transformer": transformer,
}
_COMMANDS = ("fill_buffer", "update_buffer", "copy_buffer", "dispatch", "dispatch_indirect")
_METHODS: dict[str, Callable[..., None]] = {
    name: getattr(CommandBuffer, name) for name in _COMMANDS
}
_RUNS = 30
_LIMIT_S = 10.0

Command = tuple[str, tuple[Any, ...], dict[str, Any]]
Times = list[tuple[str, float]]


class DispatchClock:
    """Has every command buffer executed command by command, and keeps the time of each command.

    Programs accept devices and command buffers of the very classes alone, so their methods are
    replaced.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.times: Times = []
        self._now = now
        self._kept: list[CommandBuffer] = []  # so that no address is used again
        self._commands: defaultdict[int, list[Command]] = defaultdict(list)
        self._methods = {name: getattr(CommandBuffer, name) for name in _COMMANDS}
        self._execute = Device.queue_execute
        for name in _COMMANDS:
            setattr(CommandBuffer, name, self._recording(name))
        clock = self

        def queue_execute(
            device: Device,
            wait: Fence | None,
            signal: Fence | None,
            command_buffer: CommandBuffer,
            bindings: Sequence[Binding] = (),
        ) -> None:
            if wait is not None and not wait.is_reached:
                raise AssertionError("an execution that waits cannot be timed")
            for command in clock._commands[id(command_buffer)]:
                clock.execute(device, command, bindings)
            device.queue_barrier(None, signal)

        setattr(Device, "queue_execute", queue_execute)  # noqa: B010 - mypy: see above

    def execute(self, device: Device, command: Command, bindings: Sequence[Binding]) -> None:
        """Executes one command in a command buffer of its own."""
        method, arguments, named = command
        single = device.create_command_buffer(binding_capacity=len(bindings))
        self._methods[method](single, *arguments, **named)
        single.finalize()
        (name,) = single.take_submission().names
        if method == "dispatch":
            name += f" ({'x'.join(map(str, arguments[2]))})"
        start = self._now()
        self._execute(device, None, None, single, bindings)
        self.times.append((name, self._now() - start))

    def _recording(self, name: str) -> Callable[..., None]:
        def record(buffer: CommandBuffer, *arguments: Any, **named: Any) -> None:
            self._kept.append(buffer)
            self._commands[id(buffer)].append((name, arguments, named))
            self._methods[name](buffer, *arguments, **named)

        return record


def measure(
    engine_name: str, threads: int, model: Model, target: str, clock: DispatchClock
) -> Times:
    """Best time of each command, in the order of execution."""
    runs: list[Times] = []
    with iwh.load(model.archive(target), engine=engine_name, threads=threads) as module:
        end = time.perf_counter() + _LIMIT_S
        while len(runs) < _RUNS and (time.perf_counter() < end or len(runs) < 3):
            clock.times = []
            module["main"](model.argument)
            runs.append(clock.times)
    best = [(same[0][0], min(taken for _, taken in same)) for same in zip(*runs, strict=True)]
    floor = min(taken for _, taken in best)
    return [(name, taken - floor) for name, taken in best]


def print_table(results: dict[str, Times], least: float) -> None:
    """One row per command that takes at least that share of the first column's time."""
    first, *others = results
    total = {name: sum(taken for _, taken in times) for name, times in results.items()}
    print(
        f"| # | dispatch (workgroups) | share | {first} ms | "
        + " | ".join(f"{n} ms | x" for n in others)
    )
    for index, (name, taken) in enumerate(results[first]):
        share = taken / total[first]
        if share < least:
            continue
        cells = [f"{results[other][index][1] * 1e3:.2f}" for other in others]
        ratios = [f"{taken / max(results[other][index][1], 1e-9):.1f}" for other in others]
        line = " | ".join(f"{cell} | {ratio}" for cell, ratio in zip(cells, ratios, strict=True))
        print(f"| {index} | {name} | {share:.1%} | {taken * 1e3:.2f} | {line} |")
    sums = " | ".join(f"{total[n] * 1e3:.2f} | {total[first] / total[n]:.2f}" for n in others)
    print(f"| | all | 100 % | {total[first] * 1e3:.2f} | {sums} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--engine", default="wasmtime,wamr-aot", help="names, with commas")
    parser.add_argument("--threads", default="1", help="numbers, with commas")
    parser.add_argument("--model", choices=_MODELS, default="magika")
    parser.add_argument("--target", default="wasm32-simd128")
    parser.add_argument("--least", type=float, default=0.005, help="smallest share to show")
    options = parser.parse_args()
    counts = [int(count) for count in options.threads.split(",")]
    clock = DispatchClock(time.process_time if counts == [1] else time.perf_counter)
    model = _MODELS[options.model]()
    results: dict[str, Times] = {}
    for name in options.engine.split(","):
        for count in counts:
            column = name if counts == [1] else f"{name} {count}"
            results[column] = measure(name, count, model, options.target, clock)
    print_table(results, options.least)


if __name__ == "__main__":
    main()
