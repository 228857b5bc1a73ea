"""A bytecode module: archive, verified functions, and code generated at first call.

The module is immutable and shared by contexts; state lives in ``vm.instance``.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from iree_wasm_hal.vm.archive import Archive, open_archive, read_archive
from iree_wasm_hal.vm.buffer import Buffer
from iree_wasm_hal.vm.codegen import GeneratedFunction, generate
from iree_wasm_hal.vm.isa import IMPORT_BIT
from iree_wasm_hal.vm.operands import call_parts
from iree_wasm_hal.vm.prepared import KeptProgram, keep_program
from iree_wasm_hal.vm.verifier import Interface, VerifiedModule, read_interface, verify

if TYPE_CHECKING:
    import mmap
    import os
    from collections.abc import Sequence

    from iree_wasm_hal.cache.code_cache import CodeCache
    from iree_wasm_hal.vm.calling_convention import CallingConvention
    from iree_wasm_hal.vm.module_def import Dependency, Import

__all__ = ["BytecodeModule", "ExportedFunction"]

_MAX_KEPT_INSTRUCTIONS = 50_000
"""Keeping a module means to generate all of it at once: about a second for that many."""


@dataclass(frozen=True, slots=True)
class ExportedFunction:
    """A function that others can call.

    Attributes:
        name: Without the module's name.
        ordinal: Of the internal function.
        calling_convention: Arguments and results.
        attrs: Reflection attributes, such as ``iree.abi.declaration``.
    """

    name: str
    ordinal: int
    calling_convention: CallingConvention
    attrs: dict[str, str]


class BytecodeModule:
    """A verified module. Thread-safe.

    Args:
        archive: The decoded archive.
        kept: Code that was generated from it before: it passed verification then.
        cache: Where it is kept otherwise.

    Raises:
        BytecodeError: Bytecode that fails verification.
    """

    def __init__(
        self,
        archive: Archive,
        *,
        kept: Sequence[GeneratedFunction] | None = None,
        cache: CodeCache | None = None,
    ) -> None:
        self.archive = archive
        self.interface: Interface = read_interface(archive)
        self._generated: dict[int, GeneratedFunction] = dict(enumerate(kept or ()))
        self._lock = threading.Lock()
        self.rodata_buffers: tuple[Buffer, ...] = tuple(
            Buffer(contents) for contents in archive.rodata
        )
        if kept is None and self.verified.instruction_count <= _MAX_KEPT_INSTRUCTIONS and cache:
            ordinals = range(len(self.interface.functions))
            keep_program(archive, [self.code(ordinal) for ordinal in ordinals], cache)

    @cached_property
    def verified(self) -> VerifiedModule:
        """What verification found out."""
        return verify(self.archive)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> BytecodeModule:
        """Maps and verifies a file.

        Raises:
            ArchiveError: Not a vmfb, or a damaged one.
            BytecodeError: Bytecode that is of an unknown version or fails verification.
        """
        return cls(open_archive(path))

    @classmethod
    def from_bytes(
        cls,
        data: bytes | bytearray | memoryview | mmap.mmap,
        *,
        file_name: str = "<bytes>",
        cache: CodeCache | None = None,
    ) -> BytecodeModule:
        """Verifies an archive in memory, which stays referenced and must not change.

        Args:
            data: The archive.
            file_name: For messages.
            cache: Where the generated code is kept.

        Raises:
            ArchiveError: Not a vmfb, or a damaged one.
            BytecodeError: Bytecode that is of an unknown version or fails verification.
        """
        if cache is None:
            return cls(read_archive(data, file_name=file_name))
        program = KeptProgram(cache)
        archive = read_archive(data, file_name=file_name, find=program.find)
        return cls(archive, kept=program.functions, cache=cache)

    @property
    def name(self) -> str:
        """The module's namespace."""
        return self.archive.module.name

    @property
    def version(self) -> int:
        """The module's own version."""
        return self.archive.module.version

    @cached_property
    def attrs(self) -> dict[str, str]:
        """Reflection attributes of the module."""
        return {attr.key: attr.value for attr in self.archive.module.attrs}

    @property
    def dependencies(self) -> tuple[Dependency, ...]:
        """Modules it needs."""
        return self.archive.module.dependencies

    @property
    def imports(self) -> tuple[Import, ...]:
        """Functions it imports."""
        return self.archive.module.imported_functions

    @cached_property
    def exports(self) -> dict[str, ExportedFunction]:
        """Exported functions by name, ``__init`` and ``__deinit`` included."""
        signatures = self.archive.module.function_signatures
        return {
            name: ExportedFunction(
                name,
                ordinal,
                self.interface.functions[ordinal],
                {attr.key: attr.value for attr in signatures[ordinal].attrs},
            )
            for name, ordinal in self.interface.exports.items()
        }

    def code(self, ordinal: int) -> GeneratedFunction:
        """The generated code of an internal function."""
        with self._lock:
            found = self._generated.get(ordinal)
            if found is None:
                found = generate(
                    self.verified, ordinal, recursive=ordinal in self._recursive_functions
                )
                self._generated[ordinal] = found
            return found

    @cached_property
    def _recursive_functions(self) -> frozenset[int]:
        return _cyclic({f.ordinal: _callees(f.blocks) for f in self.verified.functions})


def _callees(blocks: tuple[object, ...]) -> set[int]:
    callees = set()
    for block in blocks:
        for instruction in block.instructions:  # type: ignore[attr-defined] # Block
            if "func" in instruction.opcode.operands and "*" in instruction.opcode.operands:
                ordinal = call_parts(instruction)[0]
                if not ordinal & IMPORT_BIT:
                    callees.add(ordinal)
    return callees


def _cyclic(graph: dict[int, set[int]]) -> frozenset[int]:
    """Nodes that are left when those without unvisited successors are removed, repeatedly.

    That is every node on a cycle and every node that leads to one: a chain into recursion is
    counted with it.
    """
    callers: dict[int, list[int]] = {node: [] for node in graph}
    open_calls = {node: len(callees) for node, callees in graph.items()}
    for node, callees in graph.items():
        for callee in callees:
            callers[callee].append(node)
    done = [node for node, count in open_calls.items() if count == 0]
    remaining = set(graph)
    while done:
        node = done.pop()
        remaining.discard(node)
        for caller in callers[node]:
            open_calls[caller] -= 1
            if open_calls[caller] == 0:
                done.append(caller)
    return frozenset(remaining)
