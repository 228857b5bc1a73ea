"""From the options ``--engine``, ``--threads`` and ``--parameters`` to a loaded module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from iree_wasm_hal.cli.progress import ProgressLine
from iree_wasm_hal.runtime.loader import load

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from iree_wasm_hal.isolation.module import IsolatedModule
    from iree_wasm_hal.runtime.module import Module
    from iree_wasm_hal.vm.native import NativeModule

__all__ = ["load_module", "parse_parameters"]


def parse_parameters(texts: Sequence[str]) -> dict[str, list[str]]:
    """Parameter archives by scope, from ``scope=file`` or ``file`` for the unnamed scope.

    A file name may hold ``=`` behind a scope's, as in ``model=a=b.irpa``.
    """
    archives: dict[str, list[str]] = {}
    for text in texts:
        scope, separator, path = text.partition("=")
        archives.setdefault(scope if separator else "", []).append(path if separator else text)
    return archives


def load_module(
    model: Path,
    engine: str | None,
    threads: int,
    parameters: Sequence[str] = (),
    modules: Sequence[NativeModule] = (),
    *,
    cache: bool = True,
    isolation: Literal["process"] | None = None,
    timeout: float | None = None,
) -> Module | IsolatedModule:
    """Loads an archive as the command line asks for it.

    Raises:
        Error: As ``iree_wasm_hal.load`` does.
    """
    options: dict[str, Any] = {} if engine is None else {"engine": engine}
    scopes = parse_parameters(parameters)
    with ProgressLine(f"compiling {model.name}") as progress:
        options |= {"threads": threads, "parameters": scopes, "modules": modules, "cache": cache}
        options |= {"timeout": timeout, "progress": progress.show}
        if isolation is None:
            return load(model, isolation=None, **options)
        return load(model, isolation=isolation, **options)
