"""Compiled modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iree_wasm_hal.errors import ClosedError, EngineError, WasmCompileError
from iree_wasm_hal_wamr_aot import artifact as artifacts
from iree_wasm_hal_wamr_aot.c_api import MESSAGE_CAPACITY, ffi, message_text

if TYPE_CHECKING:
    from iree_wasm_hal.engine import MemoryType
    from iree_wasm_hal_wamr_aot.artifact import Artifact
    from iree_wasm_hal_wamr_aot.library import Library
    from iree_wasm_hal_wamr_aot.memory import WamrAotMemory


class WamrAotProgram:
    """Implements ``iree_wasm_hal.engine.Program`` on an ``iwh_wamr_aot_program*``.

    Attributes:
        engine_token: Identity of the engine that loaded it.
        function_names: By function index; ``""`` for one without a name.
    """

    def __init__(self, engine_token: object, library: Library, artifact: Artifact) -> None:
        self.engine_token = engine_token
        self.function_names = artifact.function_names
        self._artifact = artifact
        # What imports something else is never instantiated, and WAMR would look for that.
        pointer = _load(library, artifact) if _imports_memory(artifact) else ffi.NULL
        self._pointer: Any = pointer

    def serialize(self) -> bytes:
        """The compiled image, for the same version and options on a CPU that has the features."""
        self.native()
        return artifacts.encode(self._artifact)

    def close(self) -> None:
        """Gives the program up; instances keep what they need."""
        self._pointer = None

    def native(self) -> Any:
        """The ``iwh_wamr_aot_program*``, for this plugin's own use."""
        pointer = self._pointer
        if pointer is None:
            msg = "program is closed"
            raise ClosedError(msg)
        return pointer

    def check_memory(self, memory: WamrAotMemory) -> None:
        """Checks that the one import is a memory that this one fits.

        Spec: https://webassembly.github.io/spec/core/valid/matching.html#memory-types

        Raises:
            EngineError: Names the imports, or what does not fit.
        """
        imports = self._artifact.imports
        limits = imports[0].limits if imports else None
        if limits is None or not _imports_memory(self._artifact):
            names = ", ".join(each.name for each in imports) or "nothing"
            msg = f"program imports {names}; expected exactly the memory env.memory"
            raise EngineError(msg)
        memory_type, page_count = memory.type, memory.page_count
        wrong = _kind_mismatch(self._artifact, memory_type)
        if wrong is None and limits.min_page_count > page_count:
            wrong = f"{limits.min_page_count} pages or more, the memory has {page_count}"
        elif (
            wrong is None
            and limits.max_page_count is not None
            and (memory_type.max_page_count > limits.max_page_count)
        ):
            wrong = (
                f"a maximum of {limits.max_page_count} pages or fewer, "
                f"the memory's is {memory_type.max_page_count}"
            )
        if wrong:
            msg = f"the program does not fit the memory: it imports one of {wrong}"
            raise EngineError(msg)


def _imports_memory(artifact: Artifact) -> bool:
    """Whether it imports what the core's programs do: a memory, and nothing else."""
    imports = artifact.imports
    is_memory = [one.limits is not None and one.name == "env.memory" for one in imports]
    return is_memory == [True]


def _kind_mismatch(artifact: Artifact, memory_type: MemoryType) -> str | None:
    limits = artifact.imports[0].limits
    if limits is not None and limits.shared != memory_type.shared:
        return f"shared={limits.shared}, the memory has shared={memory_type.shared}"
    if limits is not None and limits.index64 != memory_type.index64:
        return f"index64={limits.index64}, the memory has index64={memory_type.index64}"
    return None


def _load(library: Library, artifact: Artifact) -> Any:
    lib = library.lib
    parts = [ffi.from_buffer("uint8_t[]", part) for part in artifact.parts]
    message = ffi.new("char[]", MESSAGE_CAPACITY)
    pointer = lib.iwh_wamr_aot_program_load(
        len(parts),
        ffi.new("uint8_t *[]", parts),
        ffi.new("size_t[]", [len(part) for part in parts]),
        ffi.new("uint16_t[]", artifact.owners),
        len(artifact.owners),
        artifact.guarded,
        message,
        MESSAGE_CAPACITY,
    )
    if not pointer:
        byte_length = sum(map(len, artifact.parts))
        msg = (
            f"engine 'wamr-aot' cannot load the compiled program ({byte_length} bytes): "
            f"{message_text(message)}"
        )
        raise WasmCompileError(msg)
    return ffi.gc(pointer, lib.iwh_wamr_aot_program_release)
