"""The engine: identity, validation, creation of memories and instances."""

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
    StackCheck,
    probe_features,
)
from iree_wasm_hal.errors import ClosedError, EngineError, WasmCompileError
from iree_wasm_hal_wasm3.calibration import calibrate
from iree_wasm_hal_wasm3.instance import Wasm3Instance
from iree_wasm_hal_wasm3.library import load_library
from iree_wasm_hal_wasm3.memory import Wasm3Memory, create_memory
from iree_wasm_hal_wasm3.native_stack import StackBudget
from iree_wasm_hal_wasm3.program import Wasm3Program

if TYPE_CHECKING:
    from iree_wasm_hal_wasm3.config import EngineOptions

_SCALAR = "wasm3 has scalar instructions only"
_ONE_THREAD = "wasm3 has no atomics, and its memory belongs to one thread at a time"
_NOTES = {
    Feature.MULTI_VALUE: "wasm3 0.5.0 drops the parameters of a loop at an unconditional branch",
    Feature.REFERENCE_TYPES: "wasm3 has one table, of functions",
    Feature.SIMD128: _SCALAR,
    Feature.RELAXED_SIMD: _SCALAR,
    Feature.RELAXED_MADD: _SCALAR,
    Feature.RELAXED_DOT: _SCALAR,
    Feature.WIDE_VECTORS: _SCALAR,
    Feature.ATOMICS: _ONE_THREAD,
    Feature.SHARED_MEMORY: _ONE_THREAD,
    Feature.THREADS: _ONE_THREAD,
    Feature.MEMORY64: "wasm3 has 32-bit addresses only",
    Feature.MULTI_MEMORY: "wasm3 has one memory per runtime",
    Feature.TAIL_CALL: "wasm3 0.5.0 reads tail calls but makes plain calls of them",
    Feature.EXCEPTIONS: "wasm3 does not have them",
    Feature.EXTENDED_CONST: "wasm3 takes one instruction per constant expression",
    Feature.SERIALIZE: "wasm3's compiled code is made of pointers",
    Feature.INTERRUPT: "wasm3's loops look at nothing while they run",
}


class Wasm3Engine:
    """Implements ``iree_wasm_hal.engine.Engine``."""

    def __init__(self, options: EngineOptions) -> None:
        self._library = load_library()
        thread_check = StackCheck(options.max_native_stack_byte_length)
        self._budget = StackBudget(options, calibrate(self._library), thread_check)
        self._token: object | None = object()
        features = probe_features(self._compiles)
        self._info = EngineInfo(
            name="wasm3",
            version=self._library.version,
            library_path=self._library.path,
            memory_model=MemoryModel.OWNS,
            features=features,
            notes={feature: why for feature, why in _NOTES.items() if feature not in features},
        )

    @property
    def info(self) -> EngineInfo:
        """Name, version and probed features."""
        return self._info

    @property
    def artifact_key(self) -> None:
        """None: programs are not serialized."""

    def compile(self, wasm: bytes) -> Program:
        """Validates a module and has wasm3 compile it."""
        self._budget.thread_check.check()  # wasm3 recurses over nested blocks
        return Wasm3Program(self._library.lib, self._open(), bytes(wasm))

    def deserialize(self, image: bytes) -> Program:
        """Not possible."""
        self._open()
        msg = (
            f"engine 'wasm3' cannot deserialize {len(image)} bytes: its compiled code is made of "
            f"pointers"
        )
        raise EngineError(msg)

    def create_memory(self, memory_type: MemoryType) -> Memory:
        """Creates a memory whose base address never changes."""
        return create_memory(self._open(), memory_type)

    def instantiate(self, program: Program, memory: Memory) -> Instance:
        """Binds a program to a memory: compiles it once more, for a runtime of its own."""
        token = self._open()
        if not isinstance(program, Wasm3Program) or program.engine_token is not token:
            raise _foreign(program)
        if not isinstance(memory, Wasm3Memory) or memory.engine_token is not token:
            raise _foreign(memory)
        native = memory.native()
        self._budget.thread_check.check()
        program.check_fit(memory)
        return Wasm3Instance(self._library.lib, program, native, self._budget)

    def close(self) -> None:
        """Gives the engine up."""
        self._token = None

    def _open(self) -> object:
        token = self._token
        if token is None:
            msg = "engine 'wasm3' is closed"
            raise ClosedError(msg)
        return token

    def _compiles(self, wasm: bytes) -> bool:
        try:
            self.compile(wasm)
        except WasmCompileError:
            return False
        return True


def _foreign(one: object) -> EngineError:
    return EngineError(f"cannot instantiate: a {type(one).__name__} of another engine was given")


def _implements(engine: Wasm3Engine, program: Wasm3Program) -> tuple[Engine, Program]:
    """Lets the type checker compare the classes with the contract."""
    return engine, program
