"""What an engine plugin may import: contract, hook, feature probes, registry.

The conformance suite is ``iree_wasm_hal.engine.conformance``; it needs pytest and is not imported
from here.
"""

from iree_wasm_hal.engine.contract import (
    PAGE_SIZE,
    Engine,
    EngineInfo,
    Feature,
    Instance,
    Memory,
    MemoryModel,
    MemoryType,
    Program,
    TrapKind,
    WasmFunction,
)
from iree_wasm_hal.engine.hookspecs import ENTRY_POINT_GROUP, hookimpl
from iree_wasm_hal.engine.listing import EngineRecord, list_engines
from iree_wasm_hal.engine.native_library import describe_open_failure
from iree_wasm_hal.engine.probes import PROBES, Probe, probe_features
from iree_wasm_hal.engine.registry import check_options, open_engine

__all__ = [
    "ENTRY_POINT_GROUP",
    "PAGE_SIZE",
    "PROBES",
    "Engine",
    "EngineInfo",
    "EngineRecord",
    "Feature",
    "Instance",
    "Memory",
    "MemoryModel",
    "MemoryType",
    "Probe",
    "Program",
    "TrapKind",
    "WasmFunction",
    "check_options",
    "describe_open_failure",
    "hookimpl",
    "list_engines",
    "open_engine",
    "probe_features",
]
