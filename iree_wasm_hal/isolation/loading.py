"""From the options of ``load`` to a module in a child process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.errors import ArgumentError
from iree_wasm_hal.isolation.module import IsolatedModule
from iree_wasm_hal.isolation.start import StartRequest

if TYPE_CHECKING:
    from typing import Any

    from iree_wasm_hal.engine.progress import CompileObserver
    from iree_wasm_hal.runtime.source import Source

__all__ = ["PROCESS", "check_isolation", "load_isolated", "start_request"]

PROCESS = "process"


def check_isolation(isolation: str | None) -> None:
    """Checks the name of a kind of isolation.

    Raises:
        ArgumentError: There is none of that name.
    """
    if isolation not in (None, PROCESS):
        raise ArgumentError(f"isolation is {isolation!r}; expected None or {PROCESS!r}")


def load_isolated(
    source: Source,
    *,
    isolation: str,
    timeout: float | None,
    progress: CompileObserver | None,
    **options: Any,
) -> IsolatedModule:
    """Loads an archive in a child process; see ``load``.

    Raises:
        ArgumentError: An option has no meaning for another process.
        ProcessEndedError: The process ended while it loaded the archive.
        Error: As ``load`` does.
    """
    check_isolation(isolation)
    start = start_request(source, timeout=timeout, is_observed=progress is not None, **options)
    return IsolatedModule(start, timeout=timeout, progress=progress)


def start_request(source: Source, **options: Any) -> StartRequest:
    """What any number of children can be started with.

    Raises:
        ArgumentError: An option has no meaning for another process.
        LoadError: The archive cannot be opened.
    """
    engine = options["engine"]
    if not isinstance(engine, str):
        raise ArgumentError(
            f"engine is {engine!r}, which lives in this process; isolation takes an engine's name"
        )
    for name in ("device", "trace_sink"):
        if options.pop(name, None) is not None:
            raise ArgumentError(f"a {name} lives in this process; isolation takes none")
    return StartRequest(source, options)
