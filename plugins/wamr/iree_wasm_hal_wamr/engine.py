"""The engine: identity, loading, creation of memories and instances."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.engine import (
    Engine,
    EngineInfo,
    Feature,
    Instance,
    Memory,
    MemoryModel,
    MemoryType,
    Program,
    probe_features,
)
from iree_wasm_hal.errors import ClosedError, EngineError, WasmCompileError
from iree_wasm_hal_wamr.c_api import MESSAGE_CAPACITY, ffi, message_text
from iree_wasm_hal_wamr.instance import WamrInstance
from iree_wasm_hal_wamr.library import load_library
from iree_wasm_hal_wamr.memory import MEMORY64_NOTE, WamrMemory, create_memory
from iree_wasm_hal_wamr.program import SERIALIZE_NOTE, WamrProgram

if TYPE_CHECKING:
    from iree_wasm_hal_wamr.config import EngineOptions

_OWN_ABILITIES = frozenset({Feature.SHARED_MEMORY, Feature.THREADS, Feature.INTERRUPT})
_NO_RELAXED_SIMD = "WAMR has no relaxed SIMD"
_CLASSIC_ONLY = "WAMR's fast interpreter has none, and its classic one has no SIMD"
_NOTES = {
    Feature.RELAXED_SIMD: _NO_RELAXED_SIMD,
    Feature.RELAXED_MADD: _NO_RELAXED_SIMD,
    Feature.RELAXED_DOT: _NO_RELAXED_SIMD,
    Feature.MEMORY64: MEMORY64_NOTE,
    Feature.MULTI_MEMORY: _CLASSIC_ONLY,
    Feature.EXCEPTIONS: _CLASSIC_ONLY,
    Feature.SERIALIZE: SERIALIZE_NOTE,
    Feature.WIDE_VECTORS: "the interpreter executes 128-bit operations one by one",
}


class WamrEngine:
    """Implements ``iree_wasm_hal.engine.Engine``."""

    def __init__(self, options: EngineOptions) -> None:
        self._library = load_library()
        self._stack_byte_length = options.max_wasm_stack_byte_length
        self._token: object | None = object()
        features = probe_features(self._validates) | _OWN_ABILITIES
        self._info = EngineInfo(
            name="wamr",
            version=self._library.version,
            library_path=self._library.path,
            memory_model=MemoryModel.IMPORTS,
            features=features,
            notes={feature: note for feature, note in _NOTES.items() if feature not in features},
        )

    @property
    def info(self) -> EngineInfo:
        """Name, version and probed features."""
        return self._info

    @property
    def artifact_key(self) -> None:
        """None: programs are not serialized."""

    def compile(self, wasm: bytes) -> Program:
        """Validates a module and prepares it for the interpreter."""
        token = self._open()
        lib = self._library.lib
        wasm = bytes(wasm)
        message = ffi.new("char[]", MESSAGE_CAPACITY)
        pointer = lib.iwh_wamr_program_load(wasm, len(wasm), message, MESSAGE_CAPACITY)
        if not pointer:
            msg = (
                f"WAMR {self._info.version} cannot load the module ({len(wasm)} bytes): "
                f"{message_text(message)}"
            )
            raise WasmCompileError(msg)
        return WamrProgram(token, ffi.gc(pointer, lib.iwh_wamr_program_release), wasm)

    def deserialize(self, image: bytes) -> Program:
        """Refuses: there is nothing to serialize."""
        self._open()
        msg = f"engine 'wamr' cannot deserialize {len(image)} bytes: {SERIALIZE_NOTE}"
        raise EngineError(msg)

    def create_memory(self, memory_type: MemoryType) -> Memory:
        """Creates a memory whose base address never changes."""
        return create_memory(self._open(), self._library, memory_type)

    def instantiate(self, program: Program, memory: Memory) -> Instance:
        """Binds a program to a memory."""
        token = self._open()
        if not isinstance(program, WamrProgram) or program.engine_token is not token:
            raise _foreign(program)
        if not isinstance(memory, WamrMemory) or memory.engine_token is not token:
            raise _foreign(memory)
        return WamrInstance(self._library, program, memory, self._stack_byte_length)

    def close(self) -> None:
        """Gives the engine up; WAMR itself is the process's and stays."""
        self._token = None

    def _open(self) -> object:
        token = self._token
        if token is None:
            msg = "engine 'wamr' is closed"
            raise ClosedError(msg)
        return token

    def _validates(self, wasm: bytes) -> bool:
        lib = self._library.lib
        message = ffi.new("char[]", MESSAGE_CAPACITY)
        pointer = lib.iwh_wamr_program_load(wasm, len(wasm), message, MESSAGE_CAPACITY)
        if pointer:
            lib.iwh_wamr_program_release(pointer)
        return bool(pointer)


def _foreign(one: object) -> EngineError:
    return EngineError(f"cannot instantiate: a {type(one).__name__} of another engine was given")


def _implements(engine: WamrEngine, program: WamrProgram) -> tuple[Engine, Program]:
    """Lets the type checker compare the classes with the contract."""
    return engine, program
