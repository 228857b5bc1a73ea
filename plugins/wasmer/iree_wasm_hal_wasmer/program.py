"""Compiled modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iree_wasm_hal.errors import ClosedError
from iree_wasm_hal_wasmer.c_api import ffi
from iree_wasm_hal_wasmer.failures import general_error, take_failure

if TYPE_CHECKING:
    from iree_wasm_hal_wasmer.library import Library


class WasmerProgram:
    """Implements ``iree_wasm_hal.engine.Program``.

    Attributes:
        engine_pointer: The ``iwh_wasmer_engine_t*`` that compiled it.
    """

    def __init__(self, library: Library, engine_pointer: Any, pointer: Any) -> None:
        self.engine_pointer = engine_pointer
        self._lib = library.lib
        self._pointer: Any = ffi.gc(pointer, self._lib.iwh_wasmer_program_delete)

    def serialize(self) -> bytes:
        """The compiled image, for the same Wasmer version, compiler and CPU."""
        result, size = ffi.new("uint8_t **"), ffi.new("size_t *")
        failure = self._lib.iwh_wasmer_program_serialize(self.native(), result, size)
        if failure:
            raise general_error("Wasmer cannot serialize", take_failure(self._lib, failure))
        image = bytes(ffi.buffer(result[0], size[0]))
        self._lib.iwh_wasmer_image_delete(result[0], size[0])
        return image

    def close(self) -> None:
        """Gives the program up; instances keep the code alive."""
        self._pointer = None

    def native(self) -> Any:
        """The ``iwh_wasmer_program_t*``, for this plugin's own use."""
        pointer = self._pointer
        if pointer is None:
            msg = "program is closed"
            raise ClosedError(msg)
        return pointer
