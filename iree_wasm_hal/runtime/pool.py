"""A program loaded several times, for calls that run at once."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from iree_wasm_hal.engine.contract import Feature
from iree_wasm_hal.engine.registry import open_engine
from iree_wasm_hal.errors import ArgumentError, ClosedError
from iree_wasm_hal.hal.statistics import DeviceStatistics
from iree_wasm_hal.runtime.background import Background
from iree_wasm_hal.runtime.face import FunctionFace, ModuleFace
from iree_wasm_hal.runtime.loader import load
from iree_wasm_hal.runtime.source import Source, open_source
from iree_wasm_hal.runtime.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iree_wasm_hal.engine.contract import Engine, EngineInfo
    from iree_wasm_hal.hal.call import Call

__all__ = ["ModulePool", "PoolFunction", "load_pool"]

_AnyModule = ModuleFace[Any]


class PoolFunction(FunctionFace):
    """A function of the modules of a pool: a call takes one that is free, or waits for one."""

    def __init__(self, pool: ModulePool, functions: Sequence[FunctionFace]) -> None:
        first = functions[0]
        self.name = first.name
        self.signature = first.signature
        self.is_async = first.is_async
        self.result_types = first.result_types
        self.argument_count = first.argument_count
        self.result_count = first.result_count
        self._pool = pool
        self._functions = functions

    @property
    def _background(self) -> Background:
        return self._pool._background

    def _begin(self, timeout: float | None) -> Call:
        return self._functions[0]._begin(timeout)

    def _perform(self, call: Call, arguments: tuple[object, ...], *, copy: bool) -> Any:
        def use(index: int) -> Any:
            self._pool._check_open()
            return self._functions[index]._perform(call, arguments, copy=copy)

        return self._pool._turns.run(call, use)

    def _perform_raw(self, call: Call, arguments: tuple[object, ...]) -> tuple[object, ...]:
        def use(index: int) -> tuple[object, ...]:
            self._pool._check_open()
            return self._functions[index]._perform_raw(call, arguments)

        return self._pool._turns.run(call, use)


class ModulePool(ModuleFace[PoolFunction]):
    """The same program in several modules, each with a memory of its own.

    Made by ``load_pool``. Thread-safe: as many calls run at once as there are modules, and more of
    them wait, the first for the first that is free; each runs on any one, so state that a program
    keeps between calls is of no use here.

    Attributes:
        modules: What the calls run on. Each has its own ``device``.
    """

    def __init__(self, modules: Sequence[_AnyModule], cleanup: contextlib.ExitStack) -> None:
        self.modules = tuple(modules)
        self._cleanup = cleanup
        self._lock = threading.RLock()  # a signal handler may close what it interrupts
        self._turns = Turns(len(self.modules))
        self._background = Background(max_threads=len(self.modules))
        self._is_closed = False
        functions = {
            name: PoolFunction(self, [module[name] for module in self.modules])
            for name in self.modules[0]
        }
        super().__init__(self.modules[0].name, functions)

    def __len__(self) -> int:
        return len(self.modules)

    @property
    def engine(self) -> EngineInfo:
        """The engine that the kernels run in."""
        return self.modules[0].engine

    @property
    def statistics(self) -> DeviceStatistics:
        """What the devices counted, taken together."""
        counts = [module.statistics for module in self.modules]
        return DeviceStatistics(
            **{
                field.name: sum(getattr(one, field.name) for one in counts)
                for field in fields(DeviceStatistics)
            }
        )

    def cancel(self) -> None:
        """Ends the calls that run now, from any thread. Those that wait for a module go on.

        Raises:
            EngineError: Something took the means of ending a kernel from the engine.
        """
        for module in self.modules:
            module.cancel()

    def close(self) -> None:
        """Ends the modules; calls then raise ClosedError. Waits for running calls. Idempotent."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        self._background.close()
        self._cleanup.close()

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError(f"use of the pool of module {self.name!r} after its close()")


def load_pool(source: Source, *, size: int, **options: Any) -> ModulePool:
    """Loads a ``.vmfb`` several times, so that as many calls run at once.

    Use it to serve parallel requests: engines without threads can do it too, and one thread per
    request gives more throughput than several threads for one. Compiled code is shared where the
    engine can; weights are not.

    Args:
        source: As for ``load``.
        size: Number of modules.
        options: As for ``load``, but for ``device``. With ``isolation="process"`` each module has
            a process. A module in ``modules`` is called by several threads at once. An ``engine``
            that is an engine and no name is used for all; JavaScriptCore runs one call at a time
            then.

    Raises:
        ArgumentError: ``size`` is less than 1, or there is a ``device``.
        Error: As ``load`` does.
    """
    if not isinstance(size, int) or size < 1:
        raise ArgumentError(f"size is {size!r}; expected a whole number, 1 or more")
    if options.get("device") is not None:
        raise ArgumentError("a device is one memory; each module of a pool has its own")
    with contextlib.ExitStack() as cleanup:
        if options.get("isolation") is not None:
            modules = _load_isolated(source, size, cleanup, options)
        else:
            options.pop("isolation", None)
            modules = _load_here(source, size, cleanup, options)
        return ModulePool(modules, cleanup.pop_all())


def _load_here(
    source: Source, size: int, cleanup: contextlib.ExitStack, options: dict[str, Any]
) -> list[_AnyModule]:
    """Modules of this process."""
    if not isinstance(source, str) and hasattr(source, "read"):
        source, _ = open_source(source)  # a stream can be read once
    engine = options.pop("engine", "wasmtime")
    shared: Engine | None = None if isinstance(engine, str) else engine
    modules: list[_AnyModule] = []
    for _ in range(size):
        used = shared
        if used is None:
            used = open_engine(engine)
            cleanup.callback(used.close)
            # Of engines without threads, one may run one call at a time; they open quickly, and
            # what they compile cannot be shared.
            shared = used if Feature.THREADS in used.info.features else None
        module = load(source, engine=used, isolation=None, **options)
        cleanup.callback(module.close)
        modules.append(module)
    return modules


def _load_isolated(
    source: Source, size: int, cleanup: contextlib.ExitStack, options: dict[str, Any]
) -> list[_AnyModule]:
    """Modules in processes, which start at the same time once the first has compiled the code."""
    # Most pools are in this process, and need neither sockets nor subprocesses.
    from iree_wasm_hal.isolation.loading import load_several  # noqa: PLC0415

    return load_several(source, size, cleanup, **options)
