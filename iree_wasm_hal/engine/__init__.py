"""What an engine plugin may import: contract, hook, feature probes, registry, shared checks.

The conformance suite is ``iree_wasm_hal.engine.conformance``; it needs pytest and is not imported
from here.
"""

from iree_wasm_hal.engine.contract import (
    LOW_MEMORY_BYTE_LENGTH,
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
from iree_wasm_hal.engine.identity import cpu_identity, file_identity
from iree_wasm_hal.engine.listing import EngineRecord, list_engines
from iree_wasm_hal.engine.memory_limits import (
    check_growth,
    check_memory_limits,
    growth_error,
    memory_error,
)
from iree_wasm_hal.engine.native_library import describe_open_failure, missing_functions
from iree_wasm_hal.engine.native_stack import StackCheck
from iree_wasm_hal.engine.options import check_byte_length, check_options
from iree_wasm_hal.engine.probes import PROBES, Probe, probe_features
from iree_wasm_hal.engine.process_limits import can_start_threads, check_process_limits
from iree_wasm_hal.engine.progress import (
    CompileObserver,
    observe_compilation,
    report_compilation,
)
from iree_wasm_hal.engine.registry import open_engine
from iree_wasm_hal.engine.signature import Signature
from iree_wasm_hal.engine.thread_stacks import thread_stacks

__all__ = [
    "ENTRY_POINT_GROUP",
    "LOW_MEMORY_BYTE_LENGTH",
    "PAGE_SIZE",
    "PROBES",
    "CompileObserver",
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
    "Signature",
    "StackCheck",
    "TrapKind",
    "WasmFunction",
    "can_start_threads",
    "check_byte_length",
    "check_growth",
    "check_memory_limits",
    "check_options",
    "check_process_limits",
    "cpu_identity",
    "describe_open_failure",
    "file_identity",
    "growth_error",
    "hookimpl",
    "list_engines",
    "memory_error",
    "missing_functions",
    "observe_compilation",
    "open_engine",
    "probe_features",
    "report_compilation",
    "thread_stacks",
]
