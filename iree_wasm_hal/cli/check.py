"""``iree-wasm check``: the tests of a module that uses IREE's ``check`` module."""

from __future__ import annotations

import textwrap
import time
from typing import TYPE_CHECKING, Any

from iree_wasm_hal.cli.reporting import ExitStatus, UsageError, print_json
from iree_wasm_hal.runtime.check import CheckResult, run_tests

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["check"]


def check(model: Path, engine: str | None, threads: int, *, cache: bool, as_json: bool) -> int:
    """Runs every exported test.

    Returns:
        DONE if all passed, FAILED otherwise.

    Raises:
        UsageError: The module exports no test.
        Error: The archive cannot be loaded.
    """
    options: dict[str, Any] = {} if engine is None else {"engine": engine}
    start = time.perf_counter()
    results = run_tests(
        model,
        threads=threads,
        cache=cache,
        on_result=None if as_json else _print_result,
        **options,
    )
    duration_s = time.perf_counter() - start
    if not results:
        raise UsageError(f"{model}: exports no test (a function without arguments and results)")
    failed = [result for result in results if not result.ok]
    if as_json:
        print_json({"file": str(model), "tests": [_as_document(result) for result in results]})
    else:
        print(f"{len(results) - len(failed)} of {len(results)} passed in {duration_s:.2f} s")
    return ExitStatus.FAILED if failed else ExitStatus.DONE


def _print_result(result: CheckResult) -> None:
    print(f"[{'OK' if result.ok else 'FAILED'}] {result.name}", flush=True)
    for message in result.messages:
        print(textwrap.indent(message, "    "), flush=True)


def _as_document(result: CheckResult) -> dict[str, object]:
    return {"name": result.name, "ok": result.ok, "messages": list(result.messages)}
