"""Instances and their exported functions."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from iree_wasm_hal.errors import ClosedError
from iree_wasm_hal_wasmer.c_api import ffi
from iree_wasm_hal_wasmer.call import make_function
from iree_wasm_hal_wasmer.failures import general_error, take_failure

if TYPE_CHECKING:
    from iree_wasm_hal.engine import WasmFunction
    from iree_wasm_hal_wasmer.library import Library
    from iree_wasm_hal_wasmer.memory import WasmerMemory
    from iree_wasm_hal_wasmer.program import WasmerProgram


class WasmerInstance:
    """Implements ``iree_wasm_hal.engine.Instance``.

    Attributes:
        pointer: The ``iwh_wasmer_instance_t*``; None when closed. Functions read it at every call,
            and hold it for as long as the call lasts.
        lock: One call at a time: a store is for one thread.
    """

    def __init__(self, library: Library, program: WasmerProgram, memory: WasmerMemory) -> None:
        self._lib = lib = library.lib
        self.lock = threading.Lock()
        result = ffi.new("iwh_wasmer_instance_t **")
        failure = lib.iwh_wasmer_instance_new(program.native(), memory.native(), result)
        if failure:
            raise general_error("cannot instantiate", take_failure(lib, failure))
        self.pointer: Any = ffi.gc(result[0], lib.iwh_wasmer_instance_delete)

    def function(self, name: str) -> WasmFunction:
        """The exported function ``name``, of i32 and i64 parameters and at most one such result."""
        pointer = self._native()
        encoded = name.encode("utf-8", "surrogatepass")
        result = ffi.new("iwh_wasmer_function_t const **")
        data = ffi.from_buffer("uint8_t[]", encoded)
        failure = self._lib.iwh_wasmer_instance_function(pointer, data, len(encoded), result)
        if failure:
            what = f"no function {name!r}"
            raise general_error(what, take_failure(self._lib, failure))
        return make_function(self, self._lib, result[0], name)

    def interrupt(self) -> None:
        """Ends the call that is running on this instance, and no other."""
        failure = self._lib.iwh_wasmer_instance_interrupt(self._native())
        if failure:
            raise general_error("cannot interrupt", take_failure(self._lib, failure))

    def close(self) -> None:
        """Frees the instance, once a call that runs on it has ended."""
        self.pointer = None

    def _native(self) -> Any:
        pointer = self.pointer
        if pointer is None:
            msg = "instance is closed"
            raise ClosedError(msg)
        return pointer
