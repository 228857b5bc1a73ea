"""Runs IREE archives whose kernels are WebAssembly, on the engine you name.

::

    import iree_wasm_hal as iwh

    module = iwh.load("model.vmfb", engine="wasmtime")
    module.functions                  # exported names with their declared signatures
    y = module.main(x)                # numpy in, numpy out

``load`` gives a ``Module``, or an ``IsolatedModule`` in a process of its own; ``load_pool`` gives
several for parallel calls. ``compile`` makes the archive. ``engines`` lists what is installed,
``open_engine`` opens one, and a ``Device`` is the memory that modules may share. Whatever goes
wrong is an ``Error``; ``iree_wasm_hal.errors`` shows their tree.

Importing this package imports the standard library alone; what a name needs is imported when the
name is first used, and an engine's plugin when that engine is opened.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from iree_wasm_hal.errors import (
    ArchiveError,
    ArgumentError,
    BytecodeError,
    CallError,
    CallTimeoutError,
    ClosedError,
    CompileError,
    EngineError,
    EngineUnavailableError,
    Error,
    ImportResolutionError,
    IncompatibleTargetError,
    InternalError,
    InterruptedCallError,
    InvocationError,
    KernelProfileError,
    LimitError,
    LoadError,
    MalformedWasmError,
    ParameterError,
    ProcessEndedError,
    ResultTimeoutError,
    TrapError,
    WasmCompileError,
    WasmError,
)

if TYPE_CHECKING:
    from iree_wasm_hal.cache.code_cache import CacheInfo, CodeCache
    from iree_wasm_hal.compiler import compile  # noqa: A004 - the name that users call
    from iree_wasm_hal.engine import list_engines as engines
    from iree_wasm_hal.engine import open_engine
    from iree_wasm_hal.hal.device import Device
    from iree_wasm_hal.hal.fence import Fence
    from iree_wasm_hal.hal.statistics import DeviceStatistics, MemoryStatistics
    from iree_wasm_hal.isolation.module import IsolatedModule
    from iree_wasm_hal.runtime.function import Function
    from iree_wasm_hal.runtime.invocation import Invocation
    from iree_wasm_hal.runtime.loader import load
    from iree_wasm_hal.runtime.module import Module
    from iree_wasm_hal.runtime.pool import ModulePool, load_pool
    from iree_wasm_hal.vm.module import BytecodeModule
    from iree_wasm_hal.vm.native import PyModule

__all__ = [
    "ArchiveError",
    "ArgumentError",
    "BytecodeError",
    "BytecodeModule",
    "CacheInfo",
    "CallError",
    "CallTimeoutError",
    "ClosedError",
    "CodeCache",
    "CompileError",
    "Device",
    "DeviceStatistics",
    "EngineError",
    "EngineUnavailableError",
    "Error",
    "Fence",
    "Function",
    "ImportResolutionError",
    "IncompatibleTargetError",
    "InternalError",
    "InterruptedCallError",
    "Invocation",
    "InvocationError",
    "IsolatedModule",
    "KernelProfileError",
    "LimitError",
    "LoadError",
    "MalformedWasmError",
    "MemoryStatistics",
    "Module",
    "ModulePool",
    "ParameterError",
    "ProcessEndedError",
    "PyModule",
    "ResultTimeoutError",
    "TrapError",
    "WasmCompileError",
    "WasmError",
    "compile",
    "engines",
    "load",
    "load_pool",
    "open_engine",
]

_LAZY = {
    "BytecodeModule": ("iree_wasm_hal.vm.module", "BytecodeModule"),
    "CacheInfo": ("iree_wasm_hal.cache.code_cache", "CacheInfo"),
    "CodeCache": ("iree_wasm_hal.cache.code_cache", "CodeCache"),
    "Device": ("iree_wasm_hal.hal.device", "Device"),
    "DeviceStatistics": ("iree_wasm_hal.hal.statistics", "DeviceStatistics"),
    "Fence": ("iree_wasm_hal.hal.fence", "Fence"),
    "Function": ("iree_wasm_hal.runtime.function", "Function"),
    "Invocation": ("iree_wasm_hal.runtime.invocation", "Invocation"),
    "IsolatedModule": ("iree_wasm_hal.isolation.module", "IsolatedModule"),
    "MemoryStatistics": ("iree_wasm_hal.hal.statistics", "MemoryStatistics"),
    "Module": ("iree_wasm_hal.runtime.module", "Module"),
    "ModulePool": ("iree_wasm_hal.runtime.pool", "ModulePool"),
    "PyModule": ("iree_wasm_hal.vm.native", "PyModule"),
    "compile": ("iree_wasm_hal.compiler", "compile"),
    "engines": ("iree_wasm_hal.engine", "list_engines"),
    "load": ("iree_wasm_hal.runtime.loader", "load"),
    "load_pool": ("iree_wasm_hal.runtime.pool", "load_pool"),
    "open_engine": ("iree_wasm_hal.engine", "open_engine"),
}


def __getattr__(name: str) -> object:
    target = _LAZY.get(name)
    if target is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(target[0]), target[1])
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
