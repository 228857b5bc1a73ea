"""Validated modules. wasm3 compiles for one runtime, so each instance compiles again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iree_wasm_hal.engine import TrapKind
from iree_wasm_hal.errors import ClosedError, EngineError, TrapError, WasmCompileError
from iree_wasm_hal_wasm3.c_api import ffi
from iree_wasm_hal_wasm3.runtime import Runtime
from iree_wasm_hal_wasm3.validation import validate
from iree_wasm_hal_wasm3.validation.limits import MAX_TABLE_SIZE

if TYPE_CHECKING:
    from iree_wasm_hal.engine import Memory
    from iree_wasm_hal_wasm3.validation import ModuleInfo

_MEMORY = 2  # kind of import
_DATA = 11  # section
_NOP = b"\1"
_TRIAL_STACK_BYTE_LENGTH = 64 * 1024
_KEPT_SECTIONS = frozenset({1, 3, 6, 9, 10})
"""Types, functions, globals, elements and code. wasm3 reads a memory's limits and names only
to allocate and copy them, and tables not at all."""


class Wasm3Program:
    """Implements ``iree_wasm_hal.engine.Program``.

    Attributes:
        engine_token: Identifies the engine that validated it.
    """

    def __init__(self, lib: Any, engine_token: object, wasm: bytes) -> None:
        """Validates the module and lets wasm3 compile it once, to meet its failures now.

        Raises:
            WasmCompileError: It is invalid, or wasm3 cannot compile it.
        """
        info = validate(wasm)
        if info.grows_memory_at is not None:
            msg = (
                f"memory.grow at byte offset {info.grows_memory_at:#x}: wasm3 would move the "
                "memory; it is grown from outside"
            )
            raise WasmCompileError(msg)
        if table_size(info) > MAX_TABLE_SIZE:
            msg = f"table of {table_size(info)} elements; wasm3 takes at most {MAX_TABLE_SIZE}"
            raise WasmCompileError(msg)
        self.engine_token = engine_token
        self._info: ModuleInfo | None = info
        self.wasm = _for_wasm3(wasm, info)
        if self.foreign_import() is None:
            header = ffi.new("M3MemoryHeader *")
            Runtime(lib, self.wasm, _TRIAL_STACK_BYTE_LENGTH, header, table_size(info))

    def serialize(self) -> bytes:
        """Not possible: compiled code consists of pointers into the library."""
        self.info()
        msg = "engine 'wasm3' cannot serialize programs: its compiled code is made of pointers"
        raise EngineError(msg)

    def close(self) -> None:
        """Gives the program up; instances live on."""
        self._info = None

    def info(self) -> ModuleInfo:
        """What the module declares, for this plugin's own use."""
        info = self._info
        if info is None:
            msg = "program is closed"
            raise ClosedError(msg)
        return info

    def foreign_import(self) -> str | None:
        """The first import that is not the memory ``env.memory``."""
        for each in self.info().imports:
            if (each.module, each.name, each.kind) != ("env", "memory", _MEMORY):
                return f"{each.module}.{each.name}"
        return None

    def check_fit(self, memory: Memory) -> None:
        """Checks that the program imports a memory of that kind and nothing else.

        Raises:
            EngineError: Says what does not fit.
            TrapError: An element segment does not fit its table.
        """
        info = self.info()
        names = ", ".join(f"{each.module}.{each.name}" for each in info.imports)
        if self.foreign_import() is not None or not info.imports:
            msg = f"program imports {names or 'nothing'}; expected exactly the memory env.memory"
            raise EngineError(msg)
        if info.has_start:
            msg = "program has a start function; programs must have none"
            raise EngineError(msg)
        if any(number == _DATA for number, _, _ in info.sections):
            msg = "program has data segments; programs must have none"
            raise EngineError(msg)
        limits = info.memories[0]
        most = memory.type.max_page_count
        if memory.page_count < limits.minimum or (
            limits.maximum is not None and most > limits.maximum
        ):
            msg = (
                f"the program does not fit the memory: it imports {limits.minimum} to "
                f"{limits.maximum or 65536} pages; the memory has {memory.page_count} to {most}"
            )
            raise EngineError(msg)
        _check_elements(info)


def table_size(info: ModuleInfo) -> int:
    """Elements of the table; 0 without one."""
    return info.tables[0].minimum if info.tables else 0


def _check_elements(info: ModuleInfo) -> None:
    size = table_size(info)
    for segment in info.elements:
        start = segment.table_offset or 0
        if start % 2**32 + segment.count > size:
            kind = TrapKind.UNDEFINED_ELEMENT
            msg = (
                f"instantiate trapped: {kind}: {segment.count} elements at {start % 2**32} "
                f"in a table of {size}"
            )
            raise TrapError(msg, kind=kind)


def _for_wasm3(wasm: bytes, info: ModuleInfo) -> bytes:
    """The sections that wasm3 needs, with ``nop`` for code that cannot be reached.

    wasm3's compiler goes wrong in dead code: it looks for operands that are not there.
    """
    code = bytearray(wasm)
    for start, end in info.dead_code:
        code[start:end] = _NOP * (end - start)
    sections = [code[start:end] for number, start, end in info.sections if number in _KEPT_SECTIONS]
    return b"".join([wasm[:8], *sections])
