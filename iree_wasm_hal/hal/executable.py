"""HAL executables: kernel modules loaded into the linear memory.

Spec: runtime/src/iree/hal/executable.h.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iree_wasm_hal.errors import ArgumentError, CallError, InterruptedCallError, LoadError
from iree_wasm_hal.hal.call import uncounted
from iree_wasm_hal.hal.executable_library import (
    LIBRARY_VERSION,
    ExecutableLibrary,
    Export,
    GuestRange,
    encode_environment,
    environment_byte_length,
    read_library,
)
from iree_wasm_hal.hal.suballocator import ALIGNMENT
from iree_wasm_hal.status import StatusCode, invocation_error
from iree_wasm_hal.wasm.executor import EXECUTE, SERVE, SUBMIT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from iree_wasm_hal.engine.contract import Engine, Instance, WasmFunction
    from iree_wasm_hal.hal.guest_memory import GuestMemory
    from iree_wasm_hal.hal.programs import LinkedProgram, ProgramSource
    from iree_wasm_hal.hal.suballocator import Block, Suballocator
    from iree_wasm_hal.hal.worker_pool import WorkerPool
    from iree_wasm_hal.wasm.relink import RelinkedModule

__all__ = ["Entry", "Executable", "ExecutableLoader"]

_QUERY = "iree_hal_executable_library_query"
_INITIALIZE = "iree_wasm_initialize"
_RELOCATE = "iree_wasm_apply_relocations"


class Entry:
    """The instance of a kernel module that belongs to one worker.

    Attributes:
        instance: Bound to the device's memory.
        execute: ``iree_wasm_execute(submission_ptr, worker_ptr)``.
        submit: ``iree_wasm_submit(mailbox_ptr, submission_ptr, worker_ptr)``, where there is it.
        serve: ``iree_wasm_serve(mailbox_ptr, worker_ptr)``, where there is it.
    """

    __slots__ = (
        "_initialize",
        "_memory_base",
        "_stack_pointer",
        "execute",
        "instance",
        "serve",
        "submit",
    )

    def __init__(
        self, instance: Instance, memory_base: int, stack_pointer: int, *, has_helpers: bool
    ) -> None:
        self.instance = instance
        self.execute: WasmFunction = instance.function(EXECUTE)
        self.submit: WasmFunction
        self.serve: WasmFunction
        if has_helpers:
            self.submit = instance.function(SUBMIT)
            self.serve = instance.function(SERVE)
        self._initialize = instance.function(_INITIALIZE)
        self._memory_base = memory_base
        self._stack_pointer = stack_pointer
        self.reset()

    def reset(self) -> None:
        """Sets the instance's globals: a trap leaves its stack pointer where it was."""
        self._initialize(self._memory_base, self._stack_pointer)


class Executable:
    """A kernel module in a device's memory, ready to be dispatched. Immutable.

    Its static data and code are freed when the last reference goes.

    Attributes:
        name: For messages.
        index: Number of this executable on its device, as command streams name it.
        memory: The device's.
        exports: Kernels by export ordinal.
        environment_ptr: Guest address of its environment structure.
        entries: By worker index.
    """

    __slots__ = (
        "__weakref__",
        "_blocks",
        "_linked",
        "_ordinals",
        "entries",
        "environment_ptr",
        "exports",
        "index",
        "memory",
        "name",
    )

    def __init__(
        self,
        name: str,
        index: int,
        memory: GuestMemory,
        entries: tuple[Entry, ...],
        *,
        linked: LinkedProgram,
        exports: tuple[Export, ...] = (),
        environment_ptr: int = 0,
        blocks: tuple[Block, ...] = (),
    ) -> None:
        self.name = name
        self.index = index
        self.exports = exports
        self.environment_ptr = environment_ptr
        self.memory = memory
        self.entries = entries
        self._blocks = blocks
        self._linked = linked  # devices that load the same kernels meanwhile share it
        self._ordinals = {export.name: i for i, export in reversed([*enumerate(exports)])}

    def __repr__(self) -> str:
        return f"<hal.executable {self.name!r} with {len(self.exports)} exports>"

    def lookup_function(self, name: str) -> int:
        """The function id of a kernel: its export ordinal.

        Raises:
            InvocationError: NOT_FOUND.
        """
        ordinal = self._ordinals.get(name)
        if ordinal is None:
            raise invocation_error(
                StatusCode.NOT_FOUND,
                f"executable {self.name!r} has no function {name!r}; it has: "
                f"{', '.join(self._ordinals) or 'none'}",
            )
        return ordinal

    def export(self, function_id: int) -> Export:
        """The kernel with a function id.

        Raises:
            InvocationError: OUT_OF_RANGE.
        """
        if not 0 <= function_id < len(self.exports):
            raise invocation_error(
                StatusCode.OUT_OF_RANGE,
                f"executable {self.name!r}: function id {function_id} is out of range; it has "
                f"{len(self.exports)} functions",
            )
        return self.exports[function_id]

    def close(self) -> None:
        """Frees the instances; later submissions raise ClosedError. Idempotent."""
        _close(entry.instance for entry in self.entries)


@dataclass(slots=True)
class ExecutableLoader:
    """Places, instantiates and reads kernel modules for one device.

    Not thread-safe: the device serialises calls.
    """

    engine: Engine
    programs: ProgramSource
    memory: GuestMemory
    suballocator: Suballocator
    pool: WorkerPool
    atomics: bool
    next_index: int = 0

    def load_executor(self) -> Executable:
        """The executor without kernels, for submissions without a dispatch.

        Its index is one that no dispatch has.
        """
        with uncounted():
            linked = self.programs.executor()
        entries = self._instantiate(linked, 0)
        return Executable("executor", 0xFFFFFFFF, self.memory, entries, linked=linked)

    def load(self, kernel: bytes, constants: bytes, name: str) -> Executable:
        """Loads a kernel module.

        Args:
            kernel: The wasm module as the compiler emitted it.
            constants: 32-bit specialization constants, little-endian.
            name: For messages; the library's own name if empty.

        Raises:
            IncompatibleTargetError: The engine lacks a feature, or the library is of another kind.
            WasmError: The module is malformed, not a kernel module, or refused by the engine.
            LoadError: What the module says of itself is wrong.
            InterruptedCallError: The call that loads it ended first.
            LimitError: Out of linear memory.
        """
        what = f"executable {name!r}" if name else "the executable"
        with uncounted():
            linked = self.programs.kernels(kernel, what)
        module = linked.module
        data = self._place(module)
        environment = self._write_environment(module, constants)
        entries = self._instantiate(linked, data.guest_ptr)
        try:
            library = self._query(module, entries[0], data.guest_ptr, environment.guest_ptr)
            _check_constants(library, len(constants))
        except BaseException:  # Ctrl-C as well; raised again
            _close(entry.instance for entry in entries)
            raise
        executable = Executable(
            name or library.name,
            self.next_index,
            self.memory,
            entries,
            linked=linked,
            exports=library.exports,
            environment_ptr=environment.guest_ptr,
            blocks=(data, environment),
        )
        self.next_index += 1
        return executable

    def _instantiate(self, linked: LinkedProgram, memory_base: int) -> tuple[Entry, ...]:
        """Makes an instance of the program for every worker."""
        instances: list[Instance] = []
        entries = []
        try:
            with self.memory.in_use:
                for worker in self.pool.workers:
                    instance = self.engine.instantiate(linked.program, self.memory.memory)
                    instances.append(instance)
                    stack_pointer = worker.stack_pointer
                    entries.append(
                        Entry(instance, memory_base, stack_pointer, has_helpers=self.atomics)
                    )
        except BaseException:  # Ctrl-C as well; raised again
            _close(instances)
            raise
        return tuple(entries)

    def _place(self, module: RelinkedModule) -> Block:
        """Allocates the static data and writes the data segments, once."""
        length = module.static_data_byte_length
        data = self.suballocator.allocate(length, max(module.static_data_alignment, ALIGNMENT))
        self.memory.array[data.guest_ptr : data.guest_ptr + data.byte_length] = 0
        view = self.memory.view
        for byte_offset, segment in module.data_segments:
            if byte_offset + len(segment) > length:
                raise LoadError(
                    f"data segment of {len(segment)} bytes at {byte_offset} is outside the "
                    f"module's {length} bytes of static data"
                )
            start = data.guest_ptr + byte_offset
            view[start : start + len(segment)] = segment
        return data

    def _write_environment(self, module: RelinkedModule, constants: bytes) -> Block:
        if len(constants) % 4:
            raise ArgumentError(
                f"specialization constants of {len(constants)} bytes; expected a multiple of 4"
            )
        width = module.pointer_byte_length
        size = environment_byte_length(width)
        block = self.suballocator.allocate(size + len(constants))
        start = block.guest_ptr
        encoded = encode_environment(width, start + size if constants else 0)
        self.memory.view[start : start + size + len(constants)] = encoded + constants
        return block

    def _query(
        self, module: RelinkedModule, entry: Entry, memory_base: int, environment_ptr: int
    ) -> ExecutableLibrary:
        """Runs the module's own loading code, once, and reads what it says of itself."""
        instance = entry.instance
        call = self.pool.call
        try:
            with self.memory.in_use:
                call(instance, instance.function(_RELOCATE))
                library_ptr = call(
                    instance, instance.function(_QUERY), LIBRARY_VERSION, environment_ptr
                )
        except InterruptedCallError:  # says nothing of the module
            raise
        except CallError as error:
            raise LoadError(f"the kernel module failed while it was loaded: {error}") from error
        if not isinstance(library_ptr, int):
            raise LoadError(f"{_QUERY} returned {library_ptr!r}; expected a pointer")
        mask = (1 << 8 * module.pointer_byte_length) - 1
        own = GuestRange(
            self.memory.view,
            memory_base,
            memory_base + module.static_data_byte_length,
            module.pointer_byte_length,
        )
        return read_library(
            own,
            library_ptr & mask,
            table_base=module.table_base,
            table_size=module.table_size,
        )


def _close(instances: Iterable[Instance]) -> None:
    for instance in instances:
        instance.close()


def _check_constants(library: ExecutableLibrary, byte_length: int) -> None:
    if library.constant_count * 4 != byte_length:
        raise LoadError(
            f"executable {library.name!r} takes {library.constant_count} specialization "
            f"constants, the program gave {byte_length // 4}"
        )
