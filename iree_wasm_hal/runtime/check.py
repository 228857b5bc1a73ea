"""Runs the tests of a module that uses IREE's ``check`` module, as ``iree-check-module`` does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iree_wasm_hal.errors import CallError, LimitError
from iree_wasm_hal.runtime.loader import load
from iree_wasm_hal.vm.modules.check import CheckModule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from iree_wasm_hal.cache.code_cache import CodeCache
    from iree_wasm_hal.engine.contract import Engine
    from iree_wasm_hal.runtime.source import Source
    from iree_wasm_hal.vm.modules.io_parameters.source import ParameterSources
    from iree_wasm_hal.vm.native import NativeModule

__all__ = ["CheckResult", "run_tests"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The outcome of one test."""

    name: str
    """Name of the exported function."""
    ok: bool
    messages: tuple[str, ...]
    """What failed: expectations in IREE's words, or the error that ended the test."""


def run_tests(
    source: Source,
    *,
    engine: str | Engine = "wasmtime",
    threads: int = 1,
    parameters: ParameterSources | None = None,
    modules: Sequence[NativeModule] = (),
    cache: bool | CodeCache = True,
    on_result: Callable[[CheckResult], None] | None = None,
) -> list[CheckResult]:
    """Runs every exported function that takes no arguments and returns nothing.

    The program is loaded once; a test that fails does not end the run. Functions with arguments
    or results, and those whose names begin with ``__`` or contain ``$``, are no tests.

    Args:
        source: The archive, as for ``load``.
        engine: As for ``load``.
        threads: As for ``load``.
        parameters: As for ``load``.
        modules: As for ``load``.
        cache: As for ``load``.
        on_result: Called after each test.

    Raises:
        Error: The archive cannot be loaded; see ``load``.
    """
    expectations = CheckModule()
    results = []
    with load(
        source,
        engine=engine,
        threads=threads,
        parameters=parameters,
        modules=[expectations, *modules],
        cache=cache,
    ) as module:
        for name in module:
            function = module[name]
            if function.argument_count or function.result_count or "$" in name:
                continue
            expectations.reset()
            messages = []
            try:
                function()
            except (CallError, LimitError) as error:
                messages = [f"{type(error).__name__}: {error}"]
            messages = [*expectations.failures, *messages]
            result = CheckResult(name, not messages, tuple(messages))
            results.append(result)
            if on_result is not None:
                on_result(result)
    return results
