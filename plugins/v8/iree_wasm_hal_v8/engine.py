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
from iree_wasm_hal.errors import (
    ClosedError,
    EngineError,
    EngineUnavailableError,
)
from iree_wasm_hal_v8.instance import V8Instance
from iree_wasm_hal_v8.isolate import Isolate
from iree_wasm_hal_v8.library import V8_FLAGS, load_library
from iree_wasm_hal_v8.memory import V8Memory, create_memory
from iree_wasm_hal_v8.program import V8Program, compile_program
from iree_wasm_hal_v8.warm_up import warm_up

_NOTES = {
    Feature.THREADS: "mini-racer cannot share a memory between isolates, and one isolate is one "
    "thread",
    Feature.SERIALIZE: "mini-racer does not expose V8's code serializer",
    Feature.WIDE_VECTORS: "V8's revectorizer merged nothing in the kernels that it was tried on",
}


class V8Engine:
    """Implements ``iree_wasm_hal.engine.Engine``."""

    def __init__(self) -> None:
        self._library = load_library()
        # The isolate that compiles; programs that were compiled in it keep it.
        self._isolate: Isolate | None = Isolate(self._library)
        self._check_flags()
        warm_up(self._isolate)
        self._id = object()
        self._info = EngineInfo(
            name="v8",
            version=self._library.v8_version,
            library_path=self._library.path,
            memory_model=MemoryModel.IMPORTS,
            features=self._probe(),
            notes=dict(_NOTES),
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
        isolate = self._open_isolate()
        return compile_program(self._id, isolate, bytes(wasm), self._library.v8_version)

    def deserialize(self, image: bytes) -> Program:
        """Not possible: mini-racer does not expose V8's code serializer."""
        self._open_isolate()
        msg = (
            f"engine 'v8' cannot deserialize {len(image)} bytes: mini-racer does not expose V8's "
            f"code serializer"
        )
        raise EngineError(msg)

    def create_memory(self, memory_type: MemoryType) -> Memory:
        """Creates a memory, in an isolate of its own, whose base address never changes."""
        self._open_isolate()
        return create_memory(self._library, self._id, memory_type)

    def instantiate(self, program: Program, memory: Memory) -> Instance:
        """Binds a program to a memory."""
        self._open_isolate()
        if not isinstance(program, V8Program) or program.engine_id is not self._id:
            raise _foreign(program)
        if not isinstance(memory, V8Memory) or memory.engine_id is not self._id:
            raise _foreign(memory)
        return V8Instance(program, memory.native())

    def close(self) -> None:
        """Gives the engine up."""
        self._isolate = None

    def _open_isolate(self) -> Isolate:
        isolate = self._isolate
        if isolate is None:
            msg = "engine 'v8' is closed"
            raise ClosedError(msg)
        return isolate

    def _check_flags(self) -> None:
        """Refuses a V8 that someone else initialised with other flags.

        mini-racer's default keeps wasm in the baseline compiler, and nothing in a running process
        can change that.
        """
        isolate = self._open_isolate()
        with isolate.turn:
            if isolate.request("reflectsTypes"):
                return
        msg = (
            f"engine 'v8': V8 was initialised in this process by another user of mini-racer, "
            f"without the flags it needs. Open engine 'v8' first, or make the first use of "
            f"mini-racer py_mini_racer.init_mini_racer(flags={V8_FLAGS!r})"
        )
        raise EngineUnavailableError(msg)

    def _validates(self, wasm: bytes) -> bool:
        isolate = self._open_isolate()
        with isolate.turn:
            isolate.stage(wasm)
            return bool(isolate.request("validate"))

    def _probe(self) -> frozenset[Feature]:
        # A task is cancelled by the C API alone, so there is nothing to try for INTERRUPT.
        features = probe_features(self._validates) | {Feature.INTERRUPT}
        if Feature.ATOMICS not in features:
            return features
        self.create_memory(MemoryType(min_page_count=1, max_page_count=1, shared=True)).close()
        return features | {Feature.SHARED_MEMORY}


def _foreign(one: object) -> EngineError:
    return EngineError(f"cannot instantiate: a {type(one).__name__} of another engine was given")


def _implements(engine: V8Engine, program: V8Program) -> tuple[Engine, Program]:
    """Lets the type checker compare the classes with the contract."""
    return engine, program
