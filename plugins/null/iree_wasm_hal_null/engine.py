"""The engine: identity and the making of programs, memories and instances."""

from __future__ import annotations

from importlib import metadata

from iree_wasm_hal.engine import (
    Engine,
    EngineInfo,
    Feature,
    Instance,
    Memory,
    MemoryModel,
    MemoryType,
    Program,
)
from iree_wasm_hal.errors import ClosedError, EngineError, WasmCompileError
from iree_wasm_hal_null.instance import NullInstance, NullProgram
from iree_wasm_hal_null.memory import NullMemory

_HEADER = b"\0asm\1\0\0\0"
"""Magic number and version. Spec: https://webassembly.github.io/spec/core/binary/modules.html#binary-module"""


class NullEngine:
    """Implements ``iree_wasm_hal.engine.Engine``."""

    def __init__(self) -> None:
        self._closed = False
        self._info = EngineInfo(
            name="null",
            version=metadata.version("iree-wasm-hal-null"),
            library_path="",
            memory_model=MemoryModel.IMPORTS,
            features=frozenset(),
            notes=dict.fromkeys(Feature, "the null engine runs no wasm"),
        )

    @property
    def info(self) -> EngineInfo:
        """Name, version and the empty set of features."""
        return self._info

    @property
    def artifact_key(self) -> None:
        """None: programs are not serialized."""

    def compile(self, wasm: bytes) -> Program:
        """Looks at the header only."""
        self._check_open()
        header = bytes(wasm[: len(_HEADER)])
        if header != _HEADER:
            msg = (
                f"engine 'null' cannot compile the module ({len(wasm)} bytes): "
                f"it begins with {header.hex(' ')!r}; expected {_HEADER.hex(' ')!r}"
            )
            raise WasmCompileError(msg)
        return NullProgram(self)

    def deserialize(self, image: bytes) -> Program:
        """No program is ever serialized."""
        self._check_open()
        msg = (
            f"engine 'null' cannot deserialize an image of {len(image)} bytes: it compiles nothing"
        )
        raise EngineError(msg)

    def create_memory(self, memory_type: MemoryType) -> Memory:
        """Creates a real memory."""
        self._check_open()
        return NullMemory(self, memory_type)

    def instantiate(self, program: Program, memory: Memory) -> Instance:
        """Makes an instance whose functions raise."""
        self._check_open()
        for one, kind in ((program, NullProgram), (memory, NullMemory)):
            if not isinstance(one, kind) or one.owner is not self:
                msg = f"a {type(one).__name__} of another engine was given; expected this one's"
                raise EngineError(msg)
            one.check_open()
        return NullInstance()

    def close(self) -> None:
        """Gives the engine up."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            msg = "engine 'null' is closed"
            raise ClosedError(msg)


def _implements(engine: NullEngine) -> Engine:
    """Lets the type checker compare the class with the contract."""
    return engine
