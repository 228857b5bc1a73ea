"""Runs every ONNX backend node test on this package and on native IREE and compares the two.

Prints ``passed / native passes / total``, then the tests that native IREE passes and this package
does not; exit status 1 if there are any.
"""

from __future__ import annotations

import argparse
import collections
import sys
import time

from case_runner import CaseServers, run_cases
from node_cases import CaseResult, in_fixed_fifth, load_cases


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--fifth", action="store_true", help="only the fifth that make test runs")
    parser.add_argument(
        "--only", metavar="TEXT", default="", help="only tests with TEXT in the name"
    )
    parser.add_argument("--native-only", action="store_true", help="only what native IREE does")
    parser.add_argument("--verbose", action="store_true", help="show why tests fail")
    arguments = parser.parse_args()
    names = [
        name
        for name in sorted(load_cases())
        if arguments.only in name and (in_fixed_fifth(name) or not arguments.fifth)
    ]
    with CaseServers(arguments.jobs) as servers:
        native = run_cases(names, "native", servers, _Progress("native", len(names)))
        _print_statuses("native IREE", native)
        if arguments.native_only:
            return 0
        ours = run_cases(names, "wasm", servers, _Progress("wasm", len(names)))
        _print_statuses("iree-wasm-hal", ours)
    return _report(names, native, ours, verbose=arguments.verbose)


def _report(
    names: list[str], native: dict[str, CaseResult], ours: dict[str, CaseResult], *, verbose: bool
) -> int:
    passed = [name for name in names if ours[name].status == "passed"]
    native_passes = [name for name in names if native[name].status == "passed"]
    behind = [name for name in native_passes if ours[name].status != "passed"]
    ahead = [name for name in passed if native[name].status != "passed"]
    for name in behind:
        print(f"native passes, we do not: {name}: {ours[name].status}: {_first_line(ours[name])}")
        if verbose:
            print(ours[name].detail)
    if ahead:
        print(f"we pass, native does not: {len(ahead)}: {' '.join(ahead)}")
    print(f"passed / native passes / total: {len(passed)} / {len(native_passes)} / {len(names)}")
    return 1 if behind else 0


def _first_line(result: CaseResult) -> str:
    lines = result.detail.strip().splitlines() or [""]
    return lines[0][:300]


def _print_statuses(title: str, results: dict[str, CaseResult]) -> None:
    counts = collections.Counter(result.status for result in results.values())
    print(f"{title}: " + ", ".join(f"{count} {status}" for status, count in counts.most_common()))


class _Progress:
    """A line on standard error every ten seconds."""

    def __init__(self, title: str, total: int) -> None:
        self._title, self._total, self._count = title, total, 0
        self._next = time.monotonic() + 10

    def __call__(self, result: CaseResult) -> None:
        self._count += 1
        if time.monotonic() > self._next:
            self._next = time.monotonic() + 10
            print(f"{self._title}: {self._count} run, {self._total} in all", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
