"""A JavaScript context of its own virtual machine, for the one thread that uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iree_wasm_hal.errors import EngineUnavailableError
from iree_wasm_hal_jsc.c_api import ffi

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iree_wasm_hal_jsc.library import Library

# Fundamental types of GObject (gobject/gtype.h).
NO_TYPE, INT_TYPE, UNSIGNED_LONG_TYPE = 1 << 2, 6 << 2, 9 << 2


class Context:
    """The context; only the thread that creates it may use it. ``close`` ends its machine."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._lib = library.lib
        self._context = self._lib.jsc_context_new()
        self._values: list[Any] = []

    def define(
        self,
        name: str,
        function: Any,
        user_data: Any = ffi.NULL,
        *,
        result: int = NO_TYPE,
        parameters: Sequence[int] = (),
    ) -> None:
        """Makes a C function a global function of JavaScript's.

        Args:
            name: What JavaScript calls it.
            function: Pointer to it; it takes the parameters and ``user_data``.
            user_data: Its last argument; valid as long as the context.
            result: Its type, of GObject.
            parameters: Their types.
        """
        self._lib.jsc_context_set_value(
            self._context,
            name.encode(),
            self._kept(
                self._lib.jsc_value_new_functionv(
                    self._context,
                    name.encode(),
                    ffi.cast("void *", function),
                    ffi.cast("void *", user_data),
                    ffi.NULL,
                    result,
                    len(parameters),
                    ffi.new("GType[]", [*parameters, 0]),
                )
            ),
        )

    def define_collector(self, name: str) -> None:
        """Makes a global function of JavaScript's that collects garbage before it returns.

        Of a library that does not give the collector out, it does nothing.
        """
        lib = self._lib
        if self._library.has_collector:
            function = ffi.addressof(lib, "JSSynchronousGarbageCollectForDebugging")
            raw = lib._Z22jscContextGetJSContextP11_JSCContext(self._context)
            self.define(name, function, raw)
        else:
            self.evaluate(f"globalThis.{name} = () => {{}};".encode())

    def evaluate(self, source: bytes) -> Any:
        """The value of a script, as ``JSCValue *``, valid as long as the context.

        Raises:
            EngineUnavailableError: The script threw; carries its words.
        """
        value = self._kept(self._lib.jsc_context_evaluate(self._context, source, len(source)))
        error = self._lib.jsc_context_get_exception(self._context)
        if error != ffi.NULL:
            words = self._text(self._lib.jsc_exception_to_string(error))
            msg = f"engine 'jsc': this JavaScriptCore cannot be used: {words}"
            raise EngineUnavailableError(msg)
        return value

    def property(self, owner: Any, name: str) -> Any:
        """A property of a value, as ``JSCValue *``, valid as long as the context."""
        return self._kept(self._lib.jsc_value_object_get_property(owner, name.encode()))

    def number(self, value: Any) -> int:
        """A JavaScript number."""
        return int(self._lib.jsc_value_to_double(value))

    def text(self, value: Any) -> str:
        """A JavaScript string."""
        return self._text(self._lib.jsc_value_to_string(value))

    def run(self, function: Any) -> None:
        """Calls a function without arguments, and waits for it with the GIL released."""
        self._kept(self._lib.jsc_value_function_callv(function, 0, ffi.NULL))

    def close(self) -> None:
        """Ends the machine, with all that lives in it."""
        for value in self._values:
            self._lib.g_object_unref(value)
        self._lib.g_object_unref(self._context)

    def _kept(self, value: Any) -> Any:
        self._values.append(value)
        return value

    def _text(self, characters: Any) -> str:
        text: bytes = ffi.string(characters)
        self._lib.g_free(characters)
        return text.decode("utf-8", "replace")
