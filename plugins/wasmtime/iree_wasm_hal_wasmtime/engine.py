"""The engine: identity, compilation, creation of memories and instances."""

from __future__ import annotations

from typing import Any

from iree_wasm_hal.engine import (
    Engine,
    EngineInfo,
    Feature,
    Instance,
    Memory,
    MemoryModel,
    MemoryType,
    Program,
    StackCheck,
    cpu_identity,
    file_identity,
    probe_features,
)
from iree_wasm_hal.errors import ClosedError, EngineError, WasmCompileError
from iree_wasm_hal_wasmtime import forking
from iree_wasm_hal_wasmtime.c_api import ffi
from iree_wasm_hal_wasmtime.config import (
    EngineOptions,
    compiles_in_parallel,
    new_engine_pointer,
)
from iree_wasm_hal_wasmtime.instance import WasmtimeInstance
from iree_wasm_hal_wasmtime.interruption import Ticker
from iree_wasm_hal_wasmtime.library import load_library
from iree_wasm_hal_wasmtime.memory import WasmtimeMemory, create_memory
from iree_wasm_hal_wasmtime.messages import take_error_message
from iree_wasm_hal_wasmtime.program import WasmtimeProgram

_OWN_ABILITIES = frozenset({Feature.THREADS, Feature.SERIALIZE, Feature.INTERRUPT})
_NOTES = {Feature.WIDE_VECTORS: "Cranelift compiles 128-bit operations one by one"}


class WasmtimeEngine:
    """Implements ``iree_wasm_hal.engine.Engine``."""

    def __init__(self, options: EngineOptions) -> None:
        self._library = load_library()
        forking.watch()
        self._options = options
        self._pointer: Any = new_engine_pointer(self._library, options)
        self._compiles_in_parallel = compiles_in_parallel()
        self._reservation = options.memory_reservation_byte_length
        self._ticker = Ticker(self._library, self._pointer)
        self._stack_check = StackCheck(options.max_wasm_stack_byte_length)
        self._info = EngineInfo(
            name="wasmtime",
            version=self._library.version,
            library_path=self._library.path,
            memory_model=MemoryModel.IMPORTS,
            features=self._probe(),
            notes=_NOTES,
        )
        self._artifact_key = "; ".join(
            [
                f"wasmtime {self._library.version}",
                file_identity(self._library.path),
                repr(options),
                cpu_identity(),
            ]
        )

    @property
    def info(self) -> EngineInfo:
        """Name, version and probed features."""
        return self._info

    @property
    def artifact_key(self) -> str:
        """What compiled code depends on."""
        return self._artifact_key

    def compile(self, wasm: bytes) -> Program:
        """Validates and compiles a module."""
        pointer = self._native()
        if self._compiles_in_parallel and forking.is_child():
            serial = self._compile(wasm, new_engine_pointer(self._library, self._options))
            return self.deserialize(serial.serialize())
        return self._compile(wasm, pointer)

    def deserialize(self, image: bytes) -> Program:
        """Loads a trusted image: wasmtime checks version, configuration and CPU, not the code."""
        load = self._library.lib.wasmtime_module_deserialize
        return self._load(load, image, self._native(), "load the compiled image")

    def create_memory(self, memory_type: MemoryType) -> Memory:
        """Creates a memory whose base address never changes."""
        return create_memory(self._library, self._native(), memory_type, self._reservation)

    def instantiate(self, program: Program, memory: Memory) -> Instance:
        """Binds a program to a memory."""
        pointer = self._native()
        if not isinstance(program, WasmtimeProgram) or program.engine_pointer is not pointer:
            raise _foreign(program)
        if not isinstance(memory, WasmtimeMemory) or memory.engine_pointer is not pointer:
            raise _foreign(memory)
        return WasmtimeInstance(program, memory.native(), self._ticker, self._stack_check)

    def close(self) -> None:
        """Gives the engine up; wasmtime counts the references that others hold."""
        self._pointer = None

    def _native(self) -> Any:
        pointer = self._pointer
        if pointer is None:
            msg = "engine 'wasmtime' is closed"
            raise ClosedError(msg)
        return pointer

    def _compile(self, wasm: bytes, pointer: Any) -> WasmtimeProgram:
        load = self._library.lib.wasmtime_module_new
        return self._load(load, wasm, pointer, "compile the module")

    def _load(self, load: Any, binary: bytes, pointer: Any, what: str) -> WasmtimeProgram:
        result = ffi.new("wasmtime_module_t **")
        data = ffi.from_buffer("uint8_t[]", binary)
        error = load(pointer, data, len(data), result)
        if error:
            reason = take_error_message(self._library.lib, error)
            msg = f"wasmtime {self._info.version} cannot {what} ({len(data)} bytes): {reason}"
            raise WasmCompileError(msg)
        return WasmtimeProgram(self._library, pointer, result[0])

    def _validates(self, wasm: bytes) -> bool:
        error = self._library.lib.wasmtime_module_validate(
            self._pointer, ffi.from_buffer("uint8_t[]", wasm), len(wasm)
        )
        if error:
            take_error_message(self._library.lib, error)
        return not error

    def _probe(self) -> frozenset[Feature]:
        shared = MemoryType(min_page_count=1, max_page_count=1, shared=True)
        features = probe_features(self._validates) | _OWN_ABILITIES
        if Feature.ATOMICS not in features:
            return features - {Feature.THREADS}
        self.create_memory(shared).close()
        return features | {Feature.SHARED_MEMORY}


def _foreign(one: object) -> EngineError:
    return EngineError(f"cannot instantiate: a {type(one).__name__} of another engine was given")


def _implements(engine: WasmtimeEngine, program: WasmtimeProgram) -> tuple[Engine, Program]:
    """Lets the type checker compare the classes with the contract."""
    return engine, program
