"""What an engine plugin implements: four Protocols and the data they exchange.

The picture behind it: one linear memory exists first; any number of compiled programs are
instantiated on it, one instance per program and worker thread; the core calls integer functions
of those instances. Nothing else crosses the boundary.

A program that reaches an engine was relinked by the core (``iree_wasm_hal.wasm``): it imports
exactly one thing, the memory ``("env", "memory")``, has no start function and no data segments,
and instantiating it writes nothing to the memory.

**The first 64 KiB of every linear memory are unused** (``LOW_MEMORY_BYTE_LENGTH``): no buffer,
stack, static data or state of the core lies there, and no pointer that a kernel is given leads
there. So a null pointer meets nothing, and an engine may add a constant to an address without
wrapping at 2**32, if the constant, the access's offset and its width are at most 64 KiB together:
where the addition does wrap, the access is to the unused bytes. Whether it then reaches them or
traps is the engine's choice; in no case does it reach anything but this memory.

Every engine exception is translated into ``iree_wasm_hal.errors`` by the plugin
(``raise ... from``).
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

__all__ = [
    "LOW_MEMORY_BYTE_LENGTH",
    "PAGE_SIZE",
    "Engine",
    "EngineInfo",
    "Feature",
    "Instance",
    "Memory",
    "MemoryModel",
    "MemoryType",
    "Program",
    "TrapKind",
    "WasmFunction",
]

PAGE_SIZE = 65536
"""Bytes in a wasm page. Spec: https://webassembly.github.io/spec/core/exec/runtime.html#memory-instances"""

LOW_MEMORY_BYTE_LENGTH = 65536
"""Bytes at address 0 of every linear memory that neither the core nor a kernel ever uses."""

WasmFunction = Callable[..., int | None]
"""An exported function: Python ints in (i32/i64), an int or None out; it releases the GIL."""


class Feature(enum.Enum):
    """What an engine may or may not be able to do; values are the names that users see."""

    BULK_MEMORY = "bulk-memory"
    SIGN_EXTENSION = "sign-ext"
    NONTRAPPING_FPTOINT = "nontrapping-fptoint"
    MULTI_VALUE = "multivalue"
    REFERENCE_TYPES = "reference-types"
    SIMD128 = "simd128"
    # The relaxed SIMD proposal in three parts, since engines implement it in parts: fused
    # multiply-add, integer dot products, and everything else.
    RELAXED_SIMD = "relaxed-simd"
    RELAXED_MADD = "relaxed-madd"
    RELAXED_DOT = "relaxed-dot"
    ATOMICS = "atomics"
    MEMORY64 = "memory64"
    MULTI_MEMORY = "multi-memory"
    TAIL_CALL = "tail-call"
    EXCEPTIONS = "exception-handling"
    EXTENDED_CONST = "extended-const"
    # Abilities of the engine itself, not of its wasm dialect.
    SHARED_MEMORY = "shared-memory"
    THREADS = "threads"
    SERIALIZE = "serialize"
    INTERRUPT = "interrupt"
    # It merges 128-bit operations into wider ones of the CPU. Claimed, since no module can tell.
    WIDE_VECTORS = "wide-vectors"


class TrapKind:
    """The words of ``TrapError.kind``: those of the official WebAssembly test suite.

    Plain strings, so that an engine that knows more kinds may pass its own words.
    Spec: https://github.com/WebAssembly/spec/tree/main/test/core (assert_trap)
    """

    UNREACHABLE = "unreachable"
    OUT_OF_BOUNDS_MEMORY = "out of bounds memory access"
    INTEGER_DIVIDE_BY_ZERO = "integer divide by zero"
    INTEGER_OVERFLOW = "integer overflow"
    INVALID_CONVERSION = "invalid conversion to integer"
    UNDEFINED_ELEMENT = "undefined element"
    UNINITIALIZED_ELEMENT = "uninitialized element"
    INDIRECT_CALL_TYPE_MISMATCH = "indirect call type mismatch"
    STACK_EXHAUSTED = "call stack exhausted"
    UNALIGNED_ATOMIC = "unaligned atomic"
    EXPECTED_SHARED_MEMORY = "expected shared memory"
    UNCAUGHT_EXCEPTION = "uncaught exception"
    UNKNOWN = "unknown"


class MemoryModel(enum.Enum):
    """Whether programs import the memory, or the engine owns it and the plugin lends it out."""

    IMPORTS = "imports"
    OWNS = "owns"


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """Who an engine is, for ``iree-wasm engines`` and for error messages."""

    name: str
    """Entry-point name, such as ``"wasmtime"``."""
    version: str
    """Version that the engine's library reports."""
    library_path: str
    """File of the native library, or ``""`` where there is none."""
    memory_model: MemoryModel
    features: frozenset[Feature]
    """Probed on this machine, not declared from memory."""
    notes: dict[Feature, str] = field(default_factory=dict)
    """Reason for each missing feature whose absence needs one."""


@dataclass(frozen=True, slots=True)
class MemoryType:
    """Type of a linear memory.

    Spec: https://webassembly.github.io/spec/core/syntax/types.html#memory-types
    """

    min_page_count: int
    max_page_count: int
    shared: bool = False
    index64: bool = False


class Memory(Protocol):
    """A linear memory that exists before any instance. Thread-safe except ``close``."""

    @property
    def type(self) -> MemoryType:
        """The type it was created with."""
        ...

    @property
    def page_count(self) -> int:
        """Current size in pages (64 KiB). Does not wait for a running call."""
        ...

    @property
    def growth_waits(self) -> bool:
        """Whether ``grow`` waits for a call that runs on the memory.

        The core then calls ``grow`` when none does: a wait within the engine cannot be ended.
        """
        ...

    def grow(self, delta_page_count: int) -> None:
        """Grows the memory; its base address never changes.

        Waits for a call that runs on it only where ``growth_waits`` says so.

        Raises:
            LimitError: The declared maximum or the machine does not allow it.
            ClosedError: The memory is closed.
        """
        ...

    def view(self) -> memoryview:
        """A writable zero-copy view (format ``B``) of the current size.

        The view keeps the native memory alive: it stays valid after ``grow`` (showing the old
        size) and after ``close``.

        Raises:
            ClosedError: The memory is closed.
        """
        ...

    def close(self) -> None:
        """Gives the memory up. The native memory goes with the last view and instance."""
        ...


class Program(Protocol):
    """Compiled code: immutable, shared by all threads. Thread-safe."""

    def serialize(self) -> bytes:
        """The compiled image, for ``Engine.deserialize`` of the same engine, version and CPU.

        Raises:
            EngineError: The engine lacks ``Feature.SERIALIZE``.
            ClosedError: The program is closed.
        """
        ...

    def close(self) -> None:
        """Gives the program up; instances made from it live on."""
        ...


class Instance(Protocol):
    """A program bound to a memory, for one worker thread at a time (thread-compatible)."""

    def function(self, name: str) -> WasmFunction:
        """The exported function ``name``, of i32 and i64 and at most one result.

        Calling it raises TrapError (a trap), InterruptedCallError (``interrupt``), ArgumentError
        (not that many integers) or ClosedError. The instance stays usable after each of them but
        ClosedError. Integers are taken modulo 2**32 or 2**64 and come back signed. The calling
        thread needs a native stack of 2 MiB or more.

        Raises:
            EngineError: There is no such exported function, or it has other types.
        """
        ...

    def interrupt(self) -> None:
        """Ends the call that is running on this instance, from any thread; no-op otherwise.

        Ends no other call, on this instance or another. Returns at once: the call ends at its next
        loop or call, and one that sleeps in ``memory.atomic.wait`` may sleep on.

        Raises:
            EngineError: The engine lacks ``Feature.INTERRUPT``.
        """
        ...

    def close(self) -> None:
        """Frees the instance. Idempotent."""
        ...


class Engine(Protocol):
    """A WebAssembly engine. Thread-safe. Hashed by identity, and weakly referenced."""

    @property
    def info(self) -> EngineInfo:
        """Name, version and probed features."""
        ...

    @property
    def artifact_key(self) -> str | None:
        """Everything beside a module's bytes that ``Program.serialize`` of it depends on.

        Two engines with the same key may exchange images, between processes and for as long as the
        key stays the same. It names the engine, its library (``file_identity``), the options that
        compiled code depends on, and the CPU's features (``cpu_identity``). None without
        ``Feature.SERIALIZE``; programs are then never kept.
        """
        ...

    def compile(self, wasm: bytes) -> Program:
        """Validates and compiles a module.

        Raises:
            WasmCompileError: The engine refuses it; says why in the engine's words.
        """
        ...

    def deserialize(self, image: bytes) -> Program:
        """Loads what ``Program.serialize`` gave. The image must be trusted: it is machine code.

        Raises:
            WasmCompileError: The image is for another engine, version or CPU.
            EngineError: The engine lacks ``Feature.SERIALIZE``.
        """
        ...

    def create_memory(self, memory_type: MemoryType) -> Memory:
        """Creates a zeroed memory of ``min_page_count`` pages.

        Raises:
            LimitError: The machine cannot give it.
            EngineError: Its limits are invalid, or it asks for ``SHARED_MEMORY`` or ``MEMORY64``
                and the engine lacks that.
        """
        ...

    def instantiate(self, program: Program, memory: Memory) -> Instance:
        """Binds a program to a memory. Writes nothing to the memory.

        Raises:
            EngineError: The program's memory import does not fit the memory, or either is
                another engine's.
            ClosedError: Either is closed.
        """
        ...

    def close(self) -> None:
        """Gives the engine up; programs, memories and instances live on."""
        ...
