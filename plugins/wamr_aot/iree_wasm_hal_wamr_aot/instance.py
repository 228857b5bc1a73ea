"""Instances and their exported functions."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from iree_wasm_hal.errors import ClosedError, EngineError
from iree_wasm_hal_wamr_aot.c_api import MESSAGE_CAPACITY, ffi, message_text
from iree_wasm_hal_wamr_aot.call import Signature, make_function

if TYPE_CHECKING:
    from iree_wasm_hal.engine import WasmFunction
    from iree_wasm_hal_wamr_aot.library import Library
    from iree_wasm_hal_wamr_aot.memory import WamrAotMemory
    from iree_wasm_hal_wamr_aot.program import WamrAotProgram

# The C interface passes arguments in an array on the stack; no kernel has a hundredth of that.
_TYPE_CAPACITY = 1024


class WamrAotInstance:
    """Implements ``iree_wasm_hal.engine.Instance`` on an ``iwh_wamr_aot_instance*``.

    Attributes:
        native: The ``iwh_wamr_aot_instance*``; None when closed. Functions read it at every call.
        function_names: The program's, by function index.
        lock: Held during a call: an instance runs one at a time.
    """

    def __init__(
        self,
        library: Library,
        program: WamrAotProgram,
        memory: WamrAotMemory,
        stack_byte_length: int,
    ) -> None:
        self._lib = lib = library.lib
        native_program, region = program.native(), memory.native()
        program.check_memory(memory)
        message = ffi.new("char[]", MESSAGE_CAPACITY)
        native = lib.iwh_wamr_aot_instance_create(
            native_program, region, stack_byte_length, message, MESSAGE_CAPACITY
        )
        if not native:
            msg = f"WAMR cannot instantiate the program: {message_text(message)}"
            raise EngineError(msg)
        self.lock = threading.Lock()
        self.function_names = program.function_names
        self.native: Any = ffi.gc(native, lib.iwh_wamr_aot_instance_release)

    def function(self, name: str) -> WasmFunction:
        """The exported function ``name``, of i32 and i64 parameters and at most one such result."""
        native = self._open()
        encoded = name.encode("utf-8", "surrogatepass")
        find = self._lib.iwh_wamr_aot_instance_function
        function = ffi.NULL if b"\0" in encoded else find(native, encoded)
        if not function:
            msg = f"the program exports no function {name!r}"
            raise EngineError(msg)
        text = ffi.new("char[]", _TYPE_CAPACITY)
        fits = self._lib.iwh_wamr_aot_function_type(native, function, text, _TYPE_CAPACITY)
        parameters, _, results = ffi.string(text).decode().partition(":")
        if not fits or len(results) > 1 or "x" in parameters + results:
            msg = (
                f"exported function {name!r} has a type that cannot be called from here; expected "
                f"only i32 and i64, fewer than {_TYPE_CAPACITY} of them, and at most one result"
            )
            raise EngineError(msg)
        return make_function(self, self._lib, function, Signature(name, parameters, results))

    def interrupt(self) -> None:
        """Ends the call that is running on this instance, and no other."""
        if not self._lib.iwh_wamr_aot_interrupt(self._open()):
            msg = (
                "engine 'wamr-aot' cannot interrupt calls any more: another library took over its "
                "real-time signal"
            )
            raise EngineError(msg)

    def close(self) -> None:
        """Frees the instance, when the call that runs on it has ended."""
        self.native = None

    def _open(self) -> Any:
        native = self.native
        if native is None:
            msg = "instance is closed"
            raise ClosedError(msg)
        return native
