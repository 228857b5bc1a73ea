"""Validated modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iree_wasm_hal.errors import ClosedError, EngineError
from iree_wasm_hal_wamr.imports import read_imports

if TYPE_CHECKING:
    from iree_wasm_hal.engine import MemoryType

SERIALIZE_NOTE = "the interpreter has no compiled code; what it prepares holds addresses"


class WamrProgram:
    """Implements ``iree_wasm_hal.engine.Program`` on an ``iwh_wamr_program*``.

    Attributes:
        engine_token: Identity of the engine that loaded it.
    """

    def __init__(self, engine_token: object, pointer: Any, wasm: bytes) -> None:
        self.engine_token = engine_token
        self._pointer: Any = pointer
        self._imports = read_imports(wasm)

    def serialize(self) -> bytes:
        """Refuses: there is nothing to serialize."""
        self.native()
        msg = f"engine 'wamr' cannot serialize programs: {SERIALIZE_NOTE}"
        raise EngineError(msg)

    def close(self) -> None:
        """Gives the program up; instances keep what they need."""
        self._pointer = None

    def native(self) -> Any:
        """The ``iwh_wamr_program*``, for this plugin's own use."""
        pointer = self._pointer
        if pointer is None:
            msg = "program is closed"
            raise ClosedError(msg)
        return pointer

    def check_memory(self, memory_type: MemoryType, page_count: int) -> None:
        """Checks that the one import is a memory that this one fits.

        Spec: https://webassembly.github.io/spec/core/valid/matching.html#memory-types

        Raises:
            EngineError: Names the imports, or the limit that does not fit.
        """
        limits = self._imports[0].limits if len(self._imports) == 1 else None
        if limits is None or self._imports[0].name != "env.memory":
            names = ", ".join(each.name for each in self._imports) or "nothing"
            msg = f"program imports {names}; expected exactly the memory env.memory"
            raise EngineError(msg)
        wrong = None
        if limits.shared != memory_type.shared:
            wrong = f"shared={limits.shared}, the memory has shared={memory_type.shared}"
        elif limits.min_page_count > page_count:
            wrong = f"{limits.min_page_count} pages or more, the memory has {page_count}"
        elif limits.max_page_count is not None and (
            memory_type.max_page_count > limits.max_page_count
        ):
            wrong = (
                f"a maximum of {limits.max_page_count} pages or fewer, "
                f"the memory's is {memory_type.max_page_count}"
            )
        if wrong:
            msg = f"the program does not fit the memory: it imports one of {wrong}"
            raise EngineError(msg)
