"""All engines in one process: every trap is caught by its own engine, in any order of opening.

Engines catch traps by signal handlers of the whole process, each of which hands on what is not
its own. One child process per order: handlers stay once they are installed.

``python trap_orders.py --jobs 2`` tries orders in which every five of the installed engines stand
in each of their 120 orders somewhere: of seven engines 196 orders, since all 5,040 would take a
quarter of an hour. ``python trap_orders.py A B C`` is the child for one order.
"""

from __future__ import annotations

import argparse
import itertools
import math
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from iree_wasm_hal.engine import MemoryType, TrapKind, list_engines, open_engine
from iree_wasm_hal.errors import TrapError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from iree_wasm_hal.engine import Instance

TRAPS: tuple[tuple[str, tuple[int, ...], str], ...] = (
    ("load32", (65536,), TrapKind.OUT_OF_BOUNDS_MEMORY),
    ("divide", (1, 0), TrapKind.INTEGER_DIVIDE_BY_ZERO),
    ("unreachable", (), TrapKind.UNREACHABLE),
    ("recurse", (0,), TrapKind.STACK_EXHAUSTED),
)
_STRENGTH = 5
SMALL_MEMORY = MemoryType(min_page_count=1, max_page_count=1)


def covering_orders(names: Sequence[str], strength: int) -> list[tuple[str, ...]]:
    """Orders in which every ``strength`` engines stand in each of their own orders somewhere."""
    strength = min(strength, len(names))
    missing = set(itertools.permutations(names, strength))
    orders = []
    # Greedy: first the orders that are new in all they contain.
    for gain in range(math.comb(len(names), strength), 0, -1):
        for order in itertools.permutations(names):
            new = missing.intersection(itertools.combinations(order, strength))
            if len(new) >= gain:
                orders.append(order)
                missing -= new
    return orders


def run_order(order: Iterable[str]) -> str | None:
    """Tries one order in a child process; what went wrong, or None."""
    done = subprocess.run(
        [sys.executable, __file__, *order], capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode == 0:
        return None
    return f"exit status {done.returncode}: {done.stderr.strip()[-2000:]}"


def trap_everywhere(order: Sequence[str]) -> None:
    """Opens the engines, then traps in each, from this thread and from another."""
    import iree_wasm_hal.engine as package

    wasm = Path(package.__file__).with_name("conformance").joinpath("modules", "traps.wasm")
    instances: dict[str, Instance] = {}
    for name in order:
        engine = open_engine(name)
        memory = engine.create_memory(SMALL_MEMORY)
        instances[name] = engine.instantiate(engine.compile(wasm.read_bytes()), memory)
    for _ in range(2):
        _trap_in_each(instances)
        failures: list[BaseException] = []

        def run(failures: list[BaseException] = failures) -> None:
            try:
                _trap_in_each(instances)
            except Exception as error:  # it belongs to the thread that waits
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if failures:
            raise failures[0]


def _trap_in_each(instances: dict[str, Instance]) -> None:
    for (name, instance), (function, arguments, kind) in itertools.product(
        instances.items(), TRAPS
    ):
        try:
            instance.function(function)(*arguments)
        except TrapError as error:
            if error.kind != kind:
                raise AssertionError(
                    f"{name}: {function} is a trap of kind {error.kind}"
                ) from error
        else:
            raise AssertionError(f"{name}: {function} did not trap")
        if instance.function("call_indirect")(0) != 42:
            raise AssertionError(f"{name}: the instance is unusable after {function}")


def main() -> int:
    """The child, or the run of all orders; 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("order", nargs="*", metavar="ENGINE")
    parser.add_argument("--jobs", type=int, default=2, help="child processes at a time")
    arguments = parser.parse_args()
    if arguments.order:
        trap_everywhere(arguments.order)
        return 0
    names = [record.name for record in list_engines() if record.available and record.name != "null"]
    orders = covering_orders(names, _STRENGTH)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        results = list(pool.map(run_order, orders))
    failed = [(order, cause) for order, cause in zip(orders, results, strict=True) if cause]
    for order, cause in failed:
        print(f"{' '.join(order)}: {cause}")
    print(f"{len(orders) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
