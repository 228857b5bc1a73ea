"""The engine: identity, compilation, creation of memories and instances."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

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
from iree_wasm_hal.errors import EngineError, WasmCompileError
from iree_wasm_hal_wasmtime import forking
from iree_wasm_hal_wasmtime.c_api import ffi
from iree_wasm_hal_wasmtime.config import (
    EngineOptions,
    MemoryLimits,
    compiles_in_parallel,
    new_engine_pointer,
)
from iree_wasm_hal_wasmtime.instance import WasmtimeInstance
from iree_wasm_hal_wasmtime.library import load_library
from iree_wasm_hal_wasmtime.memory import WasmtimeMemory, create_memory
from iree_wasm_hal_wasmtime.memory_import import imported_memory
from iree_wasm_hal_wasmtime.messages import take_error_message
from iree_wasm_hal_wasmtime.native_engine import NativeEngines
from iree_wasm_hal_wasmtime.program import WasmtimeProgram, split_image

if TYPE_CHECKING:
    from iree_wasm_hal_wasmtime.native_engine import NativeEngine

_OWN_ABILITIES = frozenset({Feature.THREADS, Feature.SERIALIZE, Feature.INTERRUPT})
_NOTES = {Feature.WIDE_VECTORS: "Cranelift compiles 128-bit operations one by one"}


class WasmtimeEngine:
    """Implements ``iree_wasm_hal.engine.Engine``."""

    def __init__(self, options: EngineOptions) -> None:
        self._library = load_library()
        forking.watch()
        self._options = options
        self._engines = NativeEngines(self._library, options)
        self._compiles_in_parallel = compiles_in_parallel()
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
        return self._compile(wasm, self._engines.for_memory(imported_memory(wasm)))

    def deserialize(self, image: bytes) -> Program:
        """Loads a trusted image: wasmtime checks version, configuration and CPU, not the code."""
        reservation_byte_length, own_image = split_image(image)
        return self._deserialize(own_image, self._engines.with_reservation(reservation_byte_length))

    def create_memory(self, memory_type: MemoryType) -> Memory:
        """Creates a memory whose base address never changes."""
        limits = MemoryLimits(memory_type.max_page_count, index64=memory_type.index64)
        engine = self._engines.for_memory(limits)
        compile_program = partial(self._compile, engine=engine)
        return create_memory(self._library, engine, memory_type, compile_program)

    def instantiate(self, program: Program, memory: Memory) -> Instance:
        """Binds a program to a memory."""
        engine = self._engines.default()
        if not isinstance(program, WasmtimeProgram) or program.engine.family is not engine.family:
            raise _foreign(program)
        if not isinstance(memory, WasmtimeMemory) or memory.engine.family is not engine.family:
            raise _foreign(memory)
        if program.engine is not memory.engine:
            program.native()
            memory.native()
            msg = (
                "the program does not fit the memory: it imports one that reserves "
                f"{program.engine.reservation_byte_length} bytes of address space, this one "
                f"reserves {memory.engine.reservation_byte_length}"
            )
            raise EngineError(msg)
        return WasmtimeInstance(program, memory.native(), program.engine.ticker, self._stack_check)

    def close(self) -> None:
        """Gives the engine up; wasmtime counts the references that others hold."""
        self._engines.close()

    def _compile(self, wasm: bytes, engine: NativeEngine) -> WasmtimeProgram:
        if self._compiles_in_parallel and forking.is_child():
            reservation = engine.reservation_byte_length
            pointer = new_engine_pointer(self._library, self._options, reservation)
            serial = self._load_module(wasm, engine, pointer)
            return self._deserialize(split_image(serial.serialize())[1], engine)
        return self._load_module(wasm, engine, engine.pointer)

    def _load_module(self, wasm: bytes, engine: NativeEngine, pointer: Any) -> WasmtimeProgram:
        load = self._library.lib.wasmtime_module_new
        return self._load(load, wasm, engine, pointer, "compile the module")

    def _deserialize(self, image: bytes | memoryview, engine: NativeEngine) -> WasmtimeProgram:
        load = self._library.lib.wasmtime_module_deserialize
        return self._load(load, image, engine, engine.pointer, "load the compiled image")

    def _load(
        self,
        load: Any,
        binary: bytes | memoryview,
        engine: NativeEngine,
        pointer: Any,
        what: str,
    ) -> WasmtimeProgram:
        result = ffi.new("wasmtime_module_t **")
        data = ffi.from_buffer("uint8_t[]", binary)
        error = load(pointer, data, len(data), result)
        if error:
            reason = take_error_message(self._library.lib, error)
            msg = f"wasmtime {self._info.version} cannot {what} ({len(data)} bytes): {reason}"
            raise WasmCompileError(msg)
        return WasmtimeProgram(self._library, engine, result[0])

    def _validates(self, wasm: bytes) -> bool:
        error = self._library.lib.wasmtime_module_validate(
            self._engines.default().pointer, ffi.from_buffer("uint8_t[]", wasm), len(wasm)
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
