"""From the options of ``load`` to a module in a child process."""

from __future__ import annotations

import contextlib
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from iree_wasm_hal.errors import ArgumentError
from iree_wasm_hal.isolation.module import IsolatedModule
from iree_wasm_hal.isolation.start import StartRequest

if TYPE_CHECKING:
    from typing import Any

    from iree_wasm_hal.engine.progress import CompileObserver
    from iree_wasm_hal.runtime.face import ModuleFace
    from iree_wasm_hal.runtime.source import Source

__all__ = ["PROCESS", "load_isolated", "load_several"]

PROCESS = "process"


def load_isolated(
    source: Source,
    *,
    isolation: str,
    timeout: float | None = None,
    progress: CompileObserver | None = None,
    **options: Any,
) -> IsolatedModule:
    """Loads an archive in a child process; see ``load``.

    Raises:
        ArgumentError: An option has no meaning for another process.
        ProcessEndedError: The process ended while it loaded the archive.
        Error: As ``load`` does.
    """
    observed = progress is not None
    start = _start_request(source, isolation, {**options, "timeout": timeout}, observed)
    return IsolatedModule(start, timeout=timeout, progress=progress)


def load_several(
    source: Source,
    count: int,
    cleanup: contextlib.ExitStack,
    *,
    isolation: str,
    timeout: float | None = None,
    progress: CompileObserver | None = None,
    **options: Any,
) -> list[ModuleFace[Any]]:
    """Loads an archive in several processes.

    The first may compile it; the others, which start together, find the code in the cache. Arrays
    among the parameters are in memory once.

    Args:
        source: As for ``load``.
        count: Number of processes.
        cleanup: Gets to close what was loaded.
        isolation: As for ``load``.
        timeout: As for ``load``.
        progress: As for ``load``, for the first.
        options: As for ``load``.

    Raises:
        Error: As ``load_isolated`` does.
    """
    observed = progress is not None
    start = _start_request(source, isolation, {**options, "timeout": timeout}, observed)
    with contextlib.closing(start):

        def load_one(observer: CompileObserver | None) -> IsolatedModule:
            module = IsolatedModule(start.share(), timeout=timeout, progress=observer)
            cleanup.callback(module.close)
            return module

        first = load_one(progress)
        with ThreadPoolExecutor(count) as executor:
            return [first, *executor.map(load_one, [None] * (count - 1))]


def _start_request(
    source: Source, isolation: str, options: dict[str, Any], is_observed: bool
) -> StartRequest:
    """What any number of children can be started with."""
    if isolation != PROCESS:
        raise ArgumentError(f"isolation is {isolation!r}; expected {PROCESS!r} or None")
    if sys.platform != "linux":
        raise ArgumentError(
            f"isolation={PROCESS!r} needs Linux's sockets and memory files; this is {sys.platform}"
        )
    engine = options.setdefault("engine", "wasmtime")
    if not isinstance(engine, str):
        raise ArgumentError(
            f"engine is {engine!r}, which lives in this process; isolation takes an engine's name"
        )
    for name in ("device", "trace_sink"):
        if options.pop(name, None) is not None:
            raise ArgumentError(f"a {name} lives in this process; isolation takes none")
    return StartRequest(source, {**options, "is_observed": is_observed})
