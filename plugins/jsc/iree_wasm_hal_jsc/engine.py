"""The engine: identity, compilation, creation of memories and instances."""

from __future__ import annotations

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
from iree_wasm_hal.errors import ClosedError, EngineError, LimitError, WasmCompileError
from iree_wasm_hal_jsc import forking, self_test
from iree_wasm_hal_jsc.c_api import ffi
from iree_wasm_hal_jsc.instance import instantiate
from iree_wasm_hal_jsc.library import load_library
from iree_wasm_hal_jsc.memory import JscMemory, create_memory
from iree_wasm_hal_jsc.program import JscProgram, NativeProgram
from iree_wasm_hal_jsc.virtual_machine import OperationError, VirtualMachine

_RELAXED_NOTE = "needs JSC_useWasmRelaxedSIMD=1 when the library initialises itself"
_ABSENT_NOTE = "this JavaScriptCore does not implement it"
_NOTES = {
    Feature.SIMD128: "needs JavaScriptCore's compilers, which are switched off here",
    Feature.RELAXED_SIMD: "this JavaScriptCore implements it in part: no min, max and q15mulr",
    Feature.RELAXED_MADD: _RELAXED_NOTE,
    Feature.RELAXED_DOT: _ABSENT_NOTE,
    Feature.MEMORY64: _ABSENT_NOTE,
    Feature.MULTI_MEMORY: _ABSENT_NOTE,
    Feature.SHARED_MEMORY: "this JavaScriptCore creates none",
    Feature.THREADS: "one virtual machine runs one thread at a time, and no public API shares a "
    "memory between two",
    Feature.SERIALIZE: "no public API gives compiled code out",
    Feature.INTERRUPT: "JavaScriptCore's watchdog stops JavaScript, never a loop in wasm",
    Feature.WIDE_VECTORS: "JavaScriptCore compiles 128-bit operations one by one",
}


class JscEngine:
    """Implements ``iree_wasm_hal.engine.Engine``: one virtual machine of JavaScriptCore."""

    def __init__(self) -> None:
        forking.check()
        library = load_library()
        self._machine: VirtualMachine | None = VirtualMachine(library)
        self_test.check(self._machine)
        features = self._probe()
        self._info = EngineInfo(
            name="jsc",
            version=library.version,
            library_path=library.path,
            memory_model=MemoryModel.IMPORTS,
            features=features,
            notes=_notes(features),
        )

    @property
    def info(self) -> EngineInfo:
        """Name, version and probed features."""
        return self._info

    @property
    def artifact_key(self) -> None:
        """None: programs are not serialized."""

    def compile(self, wasm: bytes) -> Program:
        """Validates and compiles a module."""
        machine = self._open()
        data = ffi.from_buffer(wasm)
        with machine.entered():
            machine.send(data)
            try:
                return JscProgram(NativeProgram(machine, machine.run("compile")))
            except OperationError as error:
                msg = (
                    f"JavaScriptCore {self._info.version} cannot compile the module "
                    f"({len(data)} bytes): {error.message}"
                )
                raise WasmCompileError(msg) from error

    def deserialize(self, image: bytes) -> Program:
        """Not possible: no API of JavaScriptCore takes compiled wasm in."""
        self._open()
        msg = (
            f"engine 'jsc' cannot deserialize {len(image)} bytes: no public API takes compiled "
            f"code in"
        )
        raise EngineError(msg)

    def create_memory(self, memory_type: MemoryType) -> Memory:
        """Creates a memory whose base address never changes."""
        machine = self._open()
        if memory_type.shared and Feature.SHARED_MEMORY not in self._info.features:
            msg = f"engine 'jsc' cannot create {memory_type}: it has no shared memories"
            raise EngineError(msg)
        return create_memory(machine, memory_type)

    def instantiate(self, program: Program, memory: Memory) -> Instance:
        """Binds a program to a memory."""
        machine = self._open()
        if not isinstance(program, JscProgram) or program.machine is not machine:
            raise _foreign(program)
        if not isinstance(memory, JscMemory) or memory.machine is not machine:
            raise _foreign(memory)
        return instantiate(program.native(), memory.native())

    def close(self) -> None:
        """Gives the engine up; the machine goes with the last thing that lives in it."""
        self._machine = None

    def _open(self) -> VirtualMachine:
        machine = self._machine
        if machine is None:
            msg = "engine 'jsc' is closed"
            raise ClosedError(msg)
        return machine

    def _validates(self, wasm: bytes) -> bool:
        machine = self._open()
        with machine.entered():
            machine.send(wasm)
            return bool(machine.run("validate"))

    def _probe(self) -> frozenset[Feature]:
        features = probe_features(self._validates)
        try:
            create_memory(self._open(), MemoryType(1, 1, shared=True)).close()
        except LimitError:
            return features
        return features | {Feature.SHARED_MEMORY}


def _notes(features: frozenset[Feature]) -> dict[Feature, str]:
    notes = {feature: note for feature, note in _NOTES.items() if feature not in features}
    if Feature.RELAXED_MADD in notes:
        notes[Feature.RELAXED_SIMD] = _RELAXED_NOTE
    return notes


def _foreign(one: object) -> EngineError:
    return EngineError(f"cannot instantiate: a {type(one).__name__} of another engine was given")


def _implements(engine: JscEngine, program: JscProgram) -> tuple[Engine, Program]:
    """Lets the type checker compare the classes with the contract."""
    return engine, program
