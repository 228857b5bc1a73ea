"""The engine: identity, compilation, creation of memories and instances."""

from __future__ import annotations

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
    cpu_identity,
    file_identity,
    probe_features,
)
from iree_wasm_hal.errors import ClosedError, EngineError, WasmCompileError
from iree_wasm_hal_wasmer.c_api import COMPILERS, FAILURE_COMPILE, FAILURE_PANIC, ffi
from iree_wasm_hal_wasmer.failures import general_error, take_failure
from iree_wasm_hal_wasmer.instance import WasmerInstance
from iree_wasm_hal_wasmer.library import Library, load_library
from iree_wasm_hal_wasmer.memory import NO_MEMORY64, WasmerMemory, create_memory
from iree_wasm_hal_wasmer.program import WasmerProgram

if TYPE_CHECKING:
    from iree_wasm_hal_wasmer.config import EngineOptions

_SIMD = (
    Feature.SIMD128,
    Feature.RELAXED_SIMD,
    Feature.RELAXED_MADD,
    Feature.RELAXED_DOT,
)
_NOTES = {
    Feature.MEMORY64: NO_MEMORY64,
    Feature.TAIL_CALL: "Wasmer's Cranelift and Singlepass implement no tail calls",
    Feature.INTERRUPT: "needs Linux on x86-64 or aarch64",
    Feature.WIDE_VECTORS: "Cranelift compiles 128-bit operations one by one",
}
_SINGLEPASS_NOTES = {
    **dict.fromkeys(_SIMD, "Singlepass has no SIMD; open with compiler='cranelift'"),
    Feature.EXCEPTIONS: "Singlepass has no exceptions; open with compiler='cranelift'",
    Feature.WIDE_VECTORS: "Singlepass has no SIMD",
}


class WasmerEngine:
    """Implements ``iree_wasm_hal.engine.Engine``."""

    def __init__(self, options: EngineOptions) -> None:
        self._library = load_library()
        self._pointer: Any = _new_engine_pointer(self._library, options)
        self._compiler = options.compiler
        features = self._probe()
        notes = _NOTES | (_SINGLEPASS_NOTES if options.compiler == "singlepass" else {})
        self._info = EngineInfo(
            name="wasmer",
            version=self._library.version,
            library_path=self._library.path,
            memory_model=MemoryModel.IMPORTS,
            features=features,
            notes={feature: note for feature, note in notes.items() if feature not in features},
        )
        self._artifact_key = "; ".join(
            [
                f"wasmer {self._library.version}",
                file_identity(self._library.path),
                options.compiler,
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
        return self._load(self._library.lib.iwh_wasmer_program_new, wasm, "compile the module")

    def deserialize(self, image: bytes) -> Program:
        """Loads a trusted image: version, compiler and CPU are checked, the code is not."""
        load = self._library.lib.iwh_wasmer_program_deserialize
        return self._load(load, image, "load the compiled image")

    def create_memory(self, memory_type: MemoryType) -> Memory:
        """Creates a memory whose base address never changes."""
        return create_memory(self._library, self._native(), memory_type)

    def instantiate(self, program: Program, memory: Memory) -> Instance:
        """Binds a program to a memory."""
        pointer = self._native()
        if not isinstance(program, WasmerProgram) or program.engine_pointer is not pointer:
            raise _foreign(program)
        if not isinstance(memory, WasmerMemory) or memory.engine_pointer is not pointer:
            raise _foreign(memory)
        return WasmerInstance(self._library, program, memory)

    def close(self) -> None:
        """Gives the engine up; the library counts the references that others hold."""
        self._pointer = None

    def _native(self) -> Any:
        pointer = self._pointer
        if pointer is None:
            msg = "engine 'wasmer' is closed"
            raise ClosedError(msg)
        return pointer

    def _load(self, load: Any, binary: bytes, what: str) -> WasmerProgram:
        pointer = self._native()
        result = ffi.new("iwh_wasmer_program_t **")
        data = ffi.from_buffer("uint8_t[]", binary)
        failure_pointer = load(pointer, data, len(data), result)
        if failure_pointer:
            failure = take_failure(self._library.lib, failure_pointer)
            version = f"Wasmer {self._library.version} ({self._compiler})"
            message = f"{version} cannot {what} ({len(data)} bytes)"
            if failure.kind in {FAILURE_COMPILE, FAILURE_PANIC}:  # its compilers panic, too
                msg = f"{message}: {failure.message}"
                raise WasmCompileError(msg)
            raise general_error(message, failure)
        return WasmerProgram(self._library, pointer, result[0])

    def _compiles(self, wasm: bytes) -> bool:
        """Compiles and does not merely validate: validation accepts more than the compilers."""
        try:
            self.compile(wasm).close()
        except WasmCompileError:
            return False
        return True

    def _probe(self) -> frozenset[Feature]:
        features = probe_features(self._compiles) | {Feature.SERIALIZE}
        if self._library.lib.iwh_wasmer_can_interrupt():
            features |= {Feature.INTERRUPT}
        if Feature.ATOMICS in features:
            shared = MemoryType(min_page_count=1, max_page_count=1, shared=True)
            self.create_memory(shared).close()
            features |= {Feature.SHARED_MEMORY, Feature.THREADS}
        return features


def _new_engine_pointer(library: Library, options: EngineOptions) -> Any:
    result = ffi.new("iwh_wasmer_engine_t **")
    failure = library.lib.iwh_wasmer_engine_new(
        COMPILERS[options.compiler], options.max_wasm_stack_byte_length, result
    )
    if failure:
        raise general_error("engine 'wasmer' cannot be opened", take_failure(library.lib, failure))
    return ffi.gc(result[0], library.lib.iwh_wasmer_engine_delete)


def _foreign(one: object) -> EngineError:
    return EngineError(f"cannot instantiate: a {type(one).__name__} of another engine was given")


def _implements(engine: WasmerEngine, program: WasmerProgram) -> tuple[Engine, Program]:
    """Lets the type checker compare the classes with the contract."""
    return engine, program
