"""A wasm3 environment and runtime with one module, compiled to the last function.

wasm3 cannot take a module out of a runtime, and an environment keeps the code pages of its
runtimes; so each instance has both for itself, and freeing it frees everything. Compilation is
lazy in wasm3: here all functions are compiled before the first call, so that nothing but a trap
can end one.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from iree_wasm_hal.errors import WasmCompileError
from iree_wasm_hal_wasm3.c_api import SLOT_BYTE_LENGTH, WASM3_VERSION, ffi, text

if TYPE_CHECKING:
    from collections.abc import Callable

_STACK_MARGIN_BYTE_LENGTH = 64 * 1024
"""Room behind the stack's end. wasm3 looks at the end where a function is entered, but its caller
has written the arguments by then: at most 8 bytes for each of 1,000."""


class Runtime:
    """Owns a ``M3Runtime *`` and what belongs to it; freed with this object.

    Attributes:
        lib: cffi's namespace of the C library.
        pointer: The ``M3Runtime *``.
        module: Its ``M3Module *``.
        stack_end: End of the value stack, for the memory's header.
    """

    __slots__ = ("_wasm", "lib", "module", "pointer", "stack_end")

    def __init__(
        self,
        lib: Any,
        wasm: bytes,
        value_stack_byte_length: int,
        header: Any,
        table_size: int,
        link: Callable[[Any], None] | None = None,
    ) -> None:
        """Loads and compiles a module.

        Args:
            lib: cffi's namespace of the C library.
            wasm: A valid module without imports but those that ``link`` serves; it reaches its
                memory through the header, whatever it declares.
            value_stack_byte_length: Size of the value stack.
            header: The ``M3MemoryHeader *`` of its memory.
            table_size: Elements of its table.
            link: Binds the module's imported functions.

        Raises:
            WasmCompileError: wasm3 refuses it, in wasm3's words.
        """
        self.lib = lib
        self.pointer = _new_runtime(lib, value_stack_byte_length + _STACK_MARGIN_BYTE_LENGTH)
        self.pointer.memory.header = header
        end = ffi.cast("uint8_t *", self.pointer.stack) + value_stack_byte_length
        self.stack_end = ffi.cast("void *", end)
        self._wasm = ffi.new("uint8_t[]", wasm)  # wasm3 reads it until the end
        self.module = self._parse(len(wasm))
        self.module.memory_imported = True  # or wasm3 would allocate one
        self._make_table(table_size)
        self._check(lib.m3_LoadModule(self.pointer, self.module), lib.m3_FreeModule)
        if link:
            link(self.module)
        self._check(lib.m3_CompileModule(self.module))

    def _parse(self, byte_length: int) -> Any:
        result = ffi.new("M3Module **")
        environment = self.pointer.environment
        self._check(self.lib.m3_ParseModule(environment, result, self._wasm, byte_length))
        return result[0]

    def _check(self, result: Any, free_module: Callable[[Any], None] | None = None) -> None:
        if not result:
            return
        details = text(self.pointer.error.message)
        if free_module:
            free_module(self.module)
        reason = f"{text(result)}: {details}" if details else text(result)
        msg = f"wasm3 {WASM3_VERSION} cannot compile the module ({len(self._wasm)} bytes): {reason}"
        raise WasmCompileError(msg)

    def _make_table(self, size: int) -> None:
        """Allocates the table: wasm3 does not read its section and grows it by segments alone."""
        slots = max(size, 1)  # a table that is null counts as a failed allocation
        table = self.lib.m3_Realloc(ffi.NULL, slots * ffi.sizeof("M3Function *"), 0)
        if not table:
            self.lib.m3_FreeModule(self.module)
            msg = f"wasm3 {WASM3_VERSION} cannot allocate a table of {size} elements"
            raise WasmCompileError(msg)
        self.module.table0 = ffi.cast("M3Function **", table)
        self.module.table0_size = size


def _new_runtime(lib: Any, stack_byte_length: int) -> Any:
    environment = lib.m3_NewEnvironment()
    stack_byte_length += -stack_byte_length % (2 * SLOT_BYTE_LENGTH)
    pointer = lib.m3_NewRuntime(environment, stack_byte_length, ffi.NULL) if environment else None
    if not pointer:
        lib.m3_FreeEnvironment(environment)
        msg = f"wasm3 {WASM3_VERSION} cannot allocate a stack of {stack_byte_length} bytes"
        raise WasmCompileError(msg)
    return ffi.gc(pointer, partial(_free_runtime, lib))


def _free_runtime(lib: Any, pointer: Any) -> None:
    environment = pointer.environment
    pointer.memory.header = ffi.NULL  # it is not wasm3's to free
    lib.ClearBacktrace(pointer)
    lib.m3_FreeRuntime(pointer)
    lib.m3_FreeEnvironment(environment)
