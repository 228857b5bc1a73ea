"""IREE's executable library v0, read out of linear memory.

The structures are written by the kernel module itself, so everything in them is hostile until
checked: each is copied out once and every pointer, count and string of the copy is checked against
the range that the module owns.
Spec: runtime/src/iree/hal/local/executable_library.h, version 0.6.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from iree_wasm_hal.errors import IncompatibleTargetError, LoadError
from iree_wasm_hal.wasm.stream import MAX_BINDING_COUNT, MAX_CONSTANT_COUNT

__all__ = [
    "LIBRARY_VERSION",
    "ExecutableLibrary",
    "Export",
    "GuestRange",
    "encode_environment",
    "environment_byte_length",
    "read_library",
]

LIBRARY_VERSION: Final = 6
"""IREE_HAL_EXECUTABLE_LIBRARY_VERSION_LATEST."""
MAX_EXPORT_COUNT: Final = 65536
"""No module has more table entries than this (docs/rationale.md)."""
MAX_NAME_BYTE_LENGTH: Final = 4096
LOCAL_MEMORY_PAGE_SIZE: Final = 4096
"""IREE_HAL_EXECUTABLE_WORKGROUP_LOCAL_MEMORY_PAGE_SIZE."""

_SANITIZERS = {1: "address", 2: "memory", 3: "thread", 4: "undefined"}
# iree_hal_executable_dispatch_attrs_v0_t: flags, local_memory_pages, constant_count, binding_count,
# workgroup size x, y, z, parameter_count, reserved
_ATTRS = struct.Struct("<QHBBIIHH5Q")


@dataclass(frozen=True, slots=True)
class Export:
    """A kernel of an executable.

    Attributes:
        name: As the compiler named it.
        function_table_index: Index in the module's function table.
        constant_count: 32-bit push constants it takes.
        binding_count: Buffers it takes.
        workgroup_size: x, y, z; 1 where the compiler left it open.
        local_memory_byte_length: Scratch memory per workgroup.
    """

    name: str
    function_table_index: int
    constant_count: int
    binding_count: int
    workgroup_size: tuple[int, int, int]
    local_memory_byte_length: int


@dataclass(frozen=True, slots=True)
class ExecutableLibrary:
    """What a kernel module says of itself.

    Attributes:
        name: For messages.
        exports: The kernels by export ordinal.
        constant_count: 32-bit specialization constants in its environment.
    """

    name: str
    exports: tuple[Export, ...]
    constant_count: int


@dataclass(frozen=True, slots=True)
class GuestRange:
    """The part of linear memory that a module owns, and how wide its pointers are."""

    view: memoryview
    start: int
    end: int
    pointer_byte_length: int

    def copy(self, what: str, address: int, byte_length: int) -> bytes:
        """Copies bytes out, once.

        Raises:
            LoadError: They are not all within the range.
        """
        if address < self.start or address + byte_length > self.end:
            raise LoadError(
                f"executable library: {what} at {address:#x} ({byte_length} bytes) is outside "
                f"the module's own data, {self.start:#x} to {self.end:#x}"
            )
        return bytes(self.view[address : address + byte_length])

    def copy_pointers(self, what: str, address: int, count: int) -> tuple[int, ...]:
        """Copies an array of pointers out. Raises as ``copy`` does."""
        data = self.copy(what, address, count * self.pointer_byte_length)
        return struct.unpack(f"<{count}{'I' if self.pointer_byte_length == 4 else 'Q'}", data)

    def copy_string(self, what: str, address: int) -> str:
        """Copies a NUL-terminated string out. Raises as ``copy`` does, or without a NUL."""
        length = min(MAX_NAME_BYTE_LENGTH, max(self.end - address, 0))
        text, nul, _ = self.copy(what, address, length).partition(b"\0")
        if not nul:
            raise LoadError(
                f"executable library: {what} at {address:#x} does not end within {length} bytes"
            )
        return text.decode("utf-8", errors="backslashreplace")


class _Layout:
    """Formats and offsets of the structures for one pointer width."""

    def __init__(self, pointer: str) -> None:
        self.pointer_byte_length = struct.calcsize("<" + pointer)
        pad = "4x" if pointer == "Q" else ""
        # version, name, features, sanitizer
        self.header = struct.Struct(f"<I{pad}{pointer}II")
        # header; imports: count, symbols; exports: count, ptrs, attrs, params, occupancy, names,
        # tags, parameter_names, source_locations, stage_locations; constants: count;
        # sources: count, files
        self.library = struct.Struct(
            f"<{pointer} I{pad}{pointer} I{pad}9{pointer} I{pad} I{pad}{pointer}"
        )
        # constants, import_thunk, import_funcs, import_contexts, processor data
        self.environment = struct.Struct(f"<4{pointer} 8Q")


_LAYOUTS = {4: _Layout("I"), 8: _Layout("Q")}
_SIZES = {
    layout.pointer_byte_length: (layout.header.size, layout.library.size, layout.environment.size)
    for layout in _LAYOUTS.values()
}
if _SIZES != {4: (16, 64, 80), 8: (24, 128, 96)} or _ATTRS.size != 64:
    raise AssertionError(f"BUG: executable library structures have sizes {_SIZES}")


def environment_byte_length(pointer_byte_length: int) -> int:
    """Size of ``iree_hal_executable_environment_v0_t``."""
    return _LAYOUTS[pointer_byte_length].environment.size


def encode_environment(pointer_byte_length: int, constants_ptr: int) -> bytes:
    """An ``iree_hal_executable_environment_v0_t`` without imports and processor data."""
    values = (constants_ptr, 0, 0, 0, *([0] * 8))
    return _LAYOUTS[pointer_byte_length].environment.pack(*values)


def read_library(
    module: GuestRange, library_ptr: int, *, table_base: int, table_size: int
) -> ExecutableLibrary:
    """Reads what ``iree_hal_executable_library_query`` returned.

    Args:
        module: The module's static data.
        library_ptr: The returned pointer.
        table_base: First index of the module's kernels in its function table.
        table_size: Their number.

    Raises:
        IncompatibleTargetError: Another library version, a sanitizer build, or kernels that
            import functions of the host.
        LoadError: A pointer, count or string that is not within the module's data.
    """
    if library_ptr == 0:
        raise IncompatibleTargetError(
            "executable library: the module offers no version up to "
            f"{LIBRARY_VERSION}; compile it with iree-base-compiler 3.11 to 3.13"
        )
    layout = _LAYOUTS[module.pointer_byte_length]
    # The version stands first in the header; nothing else may be read before it is known.
    (header_ptr,) = module.copy_pointers("library header pointer", library_ptr, 1)
    header = module.copy("library header", header_ptr, layout.header.size)
    version, name_ptr, _features, sanitizer = layout.header.unpack(header)
    _check_header(version, sanitizer)
    name = module.copy_string("library name", name_ptr) if name_ptr else ""
    fields = layout.library.unpack(module.copy("library", library_ptr, layout.library.size))
    _check_imports(module, *fields[1:3])
    count, ptrs, attrs, _, _, names, *_ = fields[3:13]
    if count > min(MAX_EXPORT_COUNT, table_size):
        raise LoadError(
            f"executable library {name!r}: {count} exports, but the function table has "
            f"{table_size} entries"
        )
    exports = _read_exports(module, count, ptrs, attrs, names)
    for ordinal, export in enumerate(exports):
        if not table_base <= export.function_table_index < table_base + table_size:
            raise LoadError(
                f"executable library {name!r}: export {ordinal} ({export.name}) is table index "
                f"{export.function_table_index}, expected {table_base} to "
                f"{table_base + table_size - 1}"
            )
    return ExecutableLibrary(name, exports, fields[13])


def _check_header(version: int, sanitizer: int) -> None:
    if version != LIBRARY_VERSION:
        raise IncompatibleTargetError(
            f"executable library: version {version}, expected {LIBRARY_VERSION}; compile the "
            "model with iree-base-compiler 3.11 to 3.13"
        )
    if sanitizer:
        kind = _SANITIZERS.get(sanitizer, f"number {sanitizer}")
        raise IncompatibleTargetError(
            f"executable library: built for the {kind} sanitizer; compile the model without "
            "--iree-llvmcpu-sanitize"
        )


def _check_imports(module: GuestRange, count: int, symbols_ptr: int) -> None:
    if not count:
        return
    shown = min(count, 8)
    pointers = module.copy_pointers("import symbols", symbols_ptr, shown)
    names = ", ".join(repr(module.copy_string("import symbol", p)) for p in pointers)
    more = f" and {count - shown} more" if count > shown else ""
    raise IncompatibleTargetError(
        f"executable library: its kernels import {names}{more} from the host, and no host "
        "function is served to kernels; compile the model without custom dispatches or link "
        "these functions into the executable"
    )


def _read_exports(
    module: GuestRange, count: int, ptrs: int, attrs: int, names: int
) -> tuple[Export, ...]:
    if not count:
        return ()
    indices = module.copy_pointers("export table", ptrs, count)
    name_ptrs = module.copy_pointers("export names", names, count) if names else (0,) * count
    attr_bytes = module.copy("export attributes", attrs, count * _ATTRS.size)
    exports = []
    for ordinal, fields in enumerate(_ATTRS.iter_unpack(attr_bytes)):
        _flags, pages, constant_count, binding_count, x, y, z = fields[:7]
        name_ptr = name_ptrs[ordinal]
        name = module.copy_string("export name", name_ptr) if name_ptr else f"export_{ordinal}"
        if constant_count > MAX_CONSTANT_COUNT or binding_count > MAX_BINDING_COUNT:
            raise LoadError(
                f"executable library: export {name!r} takes {constant_count} constants and "
                f"{binding_count} bindings; at most {MAX_CONSTANT_COUNT} and {MAX_BINDING_COUNT}"
            )
        exports.append(
            Export(
                name,
                indices[ordinal],
                constant_count,
                binding_count,
                (x or 1, y or 1, z or 1),
                pages * LOCAL_MEMORY_PAGE_SIZE,
            )
        )
    return tuple(exports)
