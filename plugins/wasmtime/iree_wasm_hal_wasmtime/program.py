"""Compiled modules."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from iree_wasm_hal.errors import ClosedError, EngineError, WasmCompileError
from iree_wasm_hal_wasmtime.c_api import EXTERNTYPE_MEMORY, ffi
from iree_wasm_hal_wasmtime.messages import take_error_message, vector_text

if TYPE_CHECKING:
    from iree_wasm_hal_wasmtime.library import Library
    from iree_wasm_hal_wasmtime.native_engine import NativeEngine

_HEADER = struct.Struct("<8sQ")
_MAGIC = b"iwh-wt 1"


def split_image(image: bytes) -> tuple[int, memoryview]:
    """The reservation that an image was compiled for, and wasmtime's own image.

    Raises:
        WasmCompileError: ``WasmtimeProgram.serialize`` made no such image.
    """
    if len(image) < _HEADER.size or not image.startswith(_MAGIC):
        msg = f"{len(image)} bytes are no image that this plugin made"
        raise WasmCompileError(msg)
    _, reservation_byte_length = _HEADER.unpack_from(image)
    return reservation_byte_length, memoryview(image)[_HEADER.size :]


class WasmtimeProgram:
    """Implements ``iree_wasm_hal.engine.Program`` on a ``wasmtime_module_t*``.

    Attributes:
        engine: The native engine that compiled it.
    """

    def __init__(self, library: Library, engine: NativeEngine, pointer: Any) -> None:
        self.engine = engine
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
        return _HEADER.pack(_MAGIC, self.engine.reservation_byte_length) + image

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
