"""Compiled modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iree_wasm_hal.errors import ClosedError, EngineError
from iree_wasm_hal_wasmtime.c_api import EXTERNTYPE_MEMORY, ffi
from iree_wasm_hal_wasmtime.messages import take_error_message, vector_text

if TYPE_CHECKING:
    from iree_wasm_hal_wasmtime.library import Library


class WasmtimeProgram:
    """Implements ``iree_wasm_hal.engine.Program`` on a ``wasmtime_module_t*``.

    Attributes:
        engine_pointer: The ``wasm_engine_t*`` that compiled it.
    """

    def __init__(self, library: Library, engine_pointer: Any, pointer: Any) -> None:
        self.engine_pointer = engine_pointer
        self._lib = library.lib
        self._pointer: Any = ffi.gc(pointer, self._lib.wasmtime_module_delete)

    def serialize(self) -> bytes:
        """The compiled image, for the same wasmtime version, configuration and CPU."""
        vector = ffi.new("wasm_byte_vec_t *")
        error = self._lib.wasmtime_module_serialize(self.native(), vector)
        if error:
            msg = f"wasmtime cannot serialize: {take_error_message(self._lib, error)}"
            raise EngineError(msg)
        image = bytes(ffi.buffer(vector.data, vector.size))
        self._lib.wasm_byte_vec_delete(vector)
        return image

    def close(self) -> None:
        """Gives the program up; instances keep the code alive."""
        self._pointer = None

    def native(self) -> Any:
        """The ``wasmtime_module_t*``, for this plugin's own use."""
        pointer = self._pointer
        if pointer is None:
            msg = "program is closed"
            raise ClosedError(msg)
        return pointer

    def check_imports(self) -> None:
        """Checks that the one import is the memory ``env.memory``.

        Raises:
            EngineError: Names the imports.
        """
        vector = ffi.new("wasm_importtype_vec_t *")
        self._lib.wasmtime_module_imports(self.native(), vector)
        imports = [self._describe(vector.data[index]) for index in range(vector.size)]
        self._lib.wasm_importtype_vec_delete(vector)
        if imports != [("env.memory", EXTERNTYPE_MEMORY)]:
            names = ", ".join(name for name, _ in imports) or "nothing"
            msg = f"program imports {names}; expected exactly the memory env.memory"
            raise EngineError(msg)

    def _describe(self, import_type: Any) -> tuple[str, int]:
        lib = self._lib
        module = vector_text(lib.wasm_importtype_module(import_type))
        name = vector_text(lib.wasm_importtype_name(import_type))
        kind = lib.wasm_externtype_kind(lib.wasm_importtype_type(import_type))
        return f"{module}.{name}", kind
