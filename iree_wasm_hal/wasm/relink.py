"""Relinking: a kernel module as iree-compile emits it becomes a program that an engine can run.

Pure: bytes in, bytes out, function bodies untouched. The kernel's imports but the memory become
its own: base globals that ``iree_wasm_initialize`` sets, a table with a constant base. Data
segments are taken out, so that instantiating writes nothing. The executor is appended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iree_wasm_hal.engine.contract import Feature
from iree_wasm_hal.errors import IncompatibleTargetError, InternalError
from iree_wasm_hal.wasm.binary import encode_name, encode_sleb128, encode_uleb128, encode_vector
from iree_wasm_hal.wasm.executor import EXECUTE, EXPORTS, emit_executor
from iree_wasm_hal.wasm.executor_dispatch import kernel_signature
from iree_wasm_hal.wasm.executor_options import ExecutorOptions
from iree_wasm_hal.wasm.expressions import I32, I64
from iree_wasm_hal.wasm.kernel_module import GlobalType, KernelModule
from iree_wasm_hal.wasm.kernel_reader import read_kernel_module
from iree_wasm_hal.wasm.names import function_names, name_section
from iree_wasm_hal.wasm.profile import MEMORY_BASE, QUERY, STACK_POINTER, TABLE_BASES, check_profile
from iree_wasm_hal.wasm.sections import SectionId, write_module

if TYPE_CHECKING:
    from iree_wasm_hal.engine.contract import MemoryType
    from iree_wasm_hal.wasm.profile import KernelProfile

__all__ = [
    "APPLY_RELOCATIONS_EXPORT",
    "EXECUTE",
    "INITIALIZE",
    "QUERY",
    "TABLE_BASE",
    "RelinkedModule",
    "executor_module",
    "relink",
]

INITIALIZE = "iree_wasm_initialize"
APPLY_RELOCATIONS_EXPORT = "iree_wasm_apply_relocations"
TABLE_BASE = 1
"""First table index of the kernels; a null function pointer stays null."""


@dataclass(frozen=True, slots=True)
class RelinkedModule:
    """A module that imports only ``env.memory`` and writes nothing when instantiated.

    Loading it at ``memory_base`` (aligned to ``static_data_alignment``, in a zeroed range of
    ``static_data_byte_length`` bytes): write ``data_segments``; instantiate; call
    ``iree_wasm_initialize(memory_base, stack_pointer)`` in every instance; call
    ``iree_wasm_apply_relocations()`` once, in one of them. Stacks grow down from
    ``stack_pointer`` (a multiple of 16; any number where ``needs_stack`` is False).

    Attributes:
        wasm: The module.
        data_segments: (byte offset from the memory base, bytes), to be written once per load.
        static_data_byte_length: Bytes the module needs at its memory base.
        static_data_alignment: Alignment of the memory base in bytes, a power of two.
        table_base: First index of the kernels in the internal table; 0 is null.
        table_size: Table entries of the kernels.
        features: What the engine must be able to do.
        target_features: What the compiler was allowed to use (``"+simd128"``), for messages.
        pointer_byte_length: 4 or 8.
        needs_stack: Whether the kernels use ``__stack_pointer``.
        export_names: What the module exports.
    """

    wasm: bytes
    data_segments: tuple[tuple[int, bytes], ...]
    static_data_byte_length: int
    static_data_alignment: int
    table_base: int
    table_size: int
    features: frozenset[Feature]
    target_features: tuple[str, ...]
    pointer_byte_length: int
    needs_stack: bool
    export_names: tuple[str, ...]


def relink(kernel: bytes, *, memory: MemoryType, atomics: bool) -> RelinkedModule:
    """Checks a kernel module against the static profile and relinks it.

    Args:
        kernel: A wasm dynamic library (``dylink.0``), as iree-compile emits it.
        memory: Type of the memory the program will import; ``index64`` must fit the kernels.
        atomics: Whether the executor claims and waits with atomic instructions, so that several
            workers may run one submission. Sleeping needs a shared memory as well.

    Raises:
        MalformedWasmError: The bytes are not a well-formed module.
        KernelProfileError: The module does something no kernel may do.
        LimitError: The module is above a size cap.
        IncompatibleTargetError: wasm64 kernels for a 32-bit memory or the other way round.
    """
    module = read_kernel_module(bytes(kernel))
    profile = check_profile(module)
    if profile.index64 != memory.index64:
        width, device = (64, 32) if profile.index64 else (32, 64)
        raise IncompatibleTargetError(
            f"kernels are compiled for wasm{width}, the device's memory is {device}-bit. Compile "
            f"for a wasm{device} target (see docs/compiling.md) or create the device with "
            f"memory64={profile.index64}"
        )
    return _Relinker(module, profile, memory, atomics).build()


def executor_module(*, memory: MemoryType, atomics: bool) -> RelinkedModule:
    """The executor alone, for submissions without a dispatch.

    Its ``iree_wasm_execute`` returns SWITCH at every dispatch that has work left. It has no
    static data; ``iree_wasm_initialize`` and ``iree_wasm_apply_relocations`` do nothing.
    """
    return _Relinker(KernelModule(b"", []), None, memory, atomics).build()


class _Relinker:
    """Collects what is appended to each section, then writes the module."""

    def __init__(
        self,
        module: KernelModule,
        profile: KernelProfile | None,
        memory: MemoryType,
        atomics: bool,
    ) -> None:
        self.module = module
        self.profile = profile
        self.memory = memory
        self.atomics = atomics
        self.pointer = I64 if memory.index64 else I32
        self.imported_globals = module.imported("global")
        self.types: list[bytes] = []
        self.functions: list[tuple[str, int, bytes]] = []

    def build(self) -> RelinkedModule:
        """The relinked module."""
        self._add_functions()
        exports = self._exports()
        info = self.profile.link_info if self.profile else None
        return RelinkedModule(
            wasm=self._write(exports),
            data_segments=self._data_segments(),
            static_data_byte_length=info.memory_byte_length if info else 0,
            static_data_alignment=info.memory_alignment if info else 1,
            table_base=TABLE_BASE,
            table_size=info.table_size if info else 0,
            features=self._features(),
            target_features=self.profile.target_features if self.profile else (),
            pointer_byte_length=8 if self.memory.index64 else 4,
            needs_stack=any(i.name == STACK_POINTER for i in self.imported_globals),
            export_names=tuple(exports),
        )

    def _features(self) -> frozenset[Feature]:
        # The executor uses memory.copy and memory.fill.
        features = {Feature.BULK_MEMORY} | (self.profile.features if self.profile else set())
        conditional = {
            Feature.ATOMICS: self.atomics,
            Feature.SHARED_MEMORY: self.memory.shared,
            Feature.MEMORY64: self.memory.index64,
        }
        return frozenset(features | {feature for feature, used in conditional.items() if used})

    def _add_type(self, encoded: bytes) -> int:
        if encoded not in self.types:
            self.types.append(encoded)
        return len(self.module.types) + self.types.index(encoded)

    def _add_functions(self) -> None:
        pointer = bytes([self.pointer])
        initialize = self._add_type(b"\x60" + encode_vector([pointer, pointer]) + b"\x00")
        self.functions.append((INITIALIZE, initialize, self._initialize_body()))
        if self.profile is None or self.profile.relocation_function is None:
            nothing = self._add_type(b"\x60\x00\x00")
            self.functions.append((APPLY_RELOCATIONS_EXPORT, nothing, b"\x02\x00\x0b"))
        kernel_type = self._add_type(kernel_signature(self.pointer).encode())
        options = ExecutorOptions(
            pointer=self.pointer,
            atomics=self.atomics,
            can_wait=self.memory.shared,
            table_index64=self._table_index64(),
            kernel_type_index=None if self.profile is None else kernel_type,
        )
        executor = emit_executor(options, len(self.module.functions) + len(self.functions))
        for name, signature, body in zip(
            executor.names, executor.signatures, executor.bodies, strict=True
        ):
            self.functions.append((name, self._add_type(signature.encode()), body))

    def _table_index64(self) -> bool:
        return self.profile.table_index64 if self.profile else self.memory.index64

    def _initialize_body(self) -> bytes:
        code = b""
        for parameter, name in enumerate((MEMORY_BASE, STACK_POINTER)):
            for index, imported in enumerate(self.imported_globals):
                if imported.name == name:
                    code += bytes([0x20, parameter, 0x24]) + encode_uleb128(index)
        body = b"\x00" + code + b"\x0b"
        return encode_uleb128(len(body)) + body

    def _exports(self) -> dict[str, int]:
        """Function index by export name."""
        first = len(self.module.functions)
        added = {name: first + i for i, (name, _, _) in enumerate(self.functions)}
        names = (INITIALIZE, APPLY_RELOCATIONS_EXPORT, *EXPORTS)
        exports = {name: added[name] for name in names if name in added}
        if self.profile is not None:
            exports[QUERY] = self.profile.query_function
            if self.profile.relocation_function is not None:
                exports[APPLY_RELOCATIONS_EXPORT] = self.profile.relocation_function
        return exports

    def _data_segments(self) -> tuple[tuple[int, bytes], ...]:
        return tuple(
            (segment.offset.addend, self.module.data[segment.start : segment.end])
            for segment in self.module.data_segments
            if segment.offset is not None and segment.end > segment.start
        )

    def _write(self, exports: dict[str, int]) -> bytes:
        indices = [encode_uleb128(type_index) for _, type_index, _ in self.functions]
        export_entries = [
            encode_name(name) + b"\x00" + encode_uleb128(index) for name, index in exports.items()
        ]
        names = function_names(self.module)
        first = len(self.module.functions)
        names.update({first + i: name for i, (name, _, _) in enumerate(self.functions)})
        return write_module(
            [
                (SectionId.TYPE, self._appended(SectionId.TYPE, self.types)),
                (SectionId.IMPORT, encode_vector([self._memory_import()])),
                (SectionId.FUNCTION, self._appended(SectionId.FUNCTION, indices)),
                (SectionId.TABLE, encode_vector([self._table()])),
                (SectionId.GLOBAL, self._globals()),
                (SectionId.EXPORT, encode_vector(export_entries)),
                (SectionId.ELEMENT, self._elements()),
                (SectionId.CODE, self._appended(SectionId.CODE, [f[2] for f in self.functions])),
                (SectionId.CUSTOM, name_section(names)),
            ]
        )

    def _original(self, section_id: SectionId) -> tuple[int, bytes]:
        """Item count and encoded items of one of the kernel's sections."""
        section = self.module.section(section_id)
        if section is None:
            return 0, b""
        reader = section.reader(self.module.data)
        count = reader.uleb128()
        return count, self.module.data[reader.offset : reader.end]

    def _appended(self, section_id: SectionId, items: list[bytes]) -> bytes:
        count, original = self._original(section_id)
        return encode_uleb128(count + len(items)) + original + b"".join(items)

    def _memory_import(self) -> bytes:
        memory = self.memory
        flags = 1 | memory.shared << 1 | memory.index64 << 2
        limits = encode_uleb128(memory.min_page_count) + encode_uleb128(memory.max_page_count)
        return encode_name("env") + encode_name("memory") + b"\x02" + bytes([flags]) + limits

    def _table(self) -> bytes:
        size = encode_uleb128(TABLE_BASE + self._table_size())
        return bytes([0x70, 1 | self._table_index64() << 2]) + size + size

    def _table_size(self) -> int:
        return self.profile.link_info.table_size if self.profile else 0

    def _globals(self) -> bytes:
        imported = []
        for entry in self.imported_globals:
            if not isinstance(entry.type, GlobalType):
                raise InternalError(f"global import {entry.name} without a global type")
            # Bases of segments and stack are set per instance, the table base is ours to choose.
            is_table_base = entry.name in TABLE_BASES
            value = TABLE_BASE if is_table_base else 0
            opcode = 0x41 if entry.type.value_type == I32 else 0x42
            constant = bytes([opcode]) + encode_sleb128(value) + b"\x0b"
            imported.append(bytes([entry.type.value_type, not is_table_base]) + constant)
        count, original = self._original(SectionId.GLOBAL)
        if not count + len(imported):
            return b""
        return encode_uleb128(count + len(imported)) + b"".join(imported) + original

    def _elements(self) -> bytes:
        opcode = 0x42 if self._table_index64() else 0x41
        segments = []
        for segment in self.module.elements:
            offset = encode_sleb128(TABLE_BASE + segment.offset.addend)
            indices = encode_vector([encode_uleb128(i) for i in segment.function_indices])
            segments.append(b"\x00" + bytes([opcode]) + offset + b"\x0b" + indices)
        return encode_vector(segments) if segments else b""
