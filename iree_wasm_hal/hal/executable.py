"""HAL executables: kernel modules loaded into the linear memory.

Spec: runtime/src/iree/hal/executable.h.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iree_wasm_hal.errors import ArgumentError, CallError, LoadError
from iree_wasm_hal.hal.compatibility import check_features
from iree_wasm_hal.hal.executable_library import (
    LIBRARY_VERSION,
    ExecutableLibrary,
    Export,
    GuestRange,
    encode_environment,
    environment_byte_length,
    read_library,
)
from iree_wasm_hal.hal.status import StatusCode, invocation_error
from iree_wasm_hal.hal.suballocator import ALIGNMENT
from iree_wasm_hal.wasm.relink import executor_module, relink

if TYPE_CHECKING:
    from iree_wasm_hal.engine.contract import Engine, Instance, WasmFunction
    from iree_wasm_hal.hal.guest_memory import GuestMemory
    from iree_wasm_hal.hal.suballocator import Block, Suballocator
    from iree_wasm_hal.hal.worker import Worker
    from iree_wasm_hal.wasm.relink import RelinkedModule

__all__ = ["Executable", "ExecutableLoader"]

_QUERY = "iree_hal_executable_library_query"
_EXECUTE = "iree_wasm_execute"
_INITIALIZE = "iree_wasm_initialize"
_RELOCATE = "iree_wasm_apply_relocations"


class Executable:
    """A kernel module in a device's memory, ready to be dispatched. Immutable.

    Its static data and code are freed when the last reference goes.

    Attributes:
        name: For messages.
        index: Number of this executable on its device, as command streams name it.
        exports: Kernels by export ordinal.
        environment_ptr: Guest address of its environment structure.
        execute: ``iree_wasm_execute(submission_ptr, worker_ptr)`` of the worker's instance.
    """

    __slots__ = (
        "__weakref__",
        "_blocks",
        "_ordinals",
        "_reset",
        "environment_ptr",
        "execute",
        "exports",
        "index",
        "instance",
        "name",
    )

    def __init__(
        self,
        name: str,
        index: int,
        instance: Instance,
        reset: tuple[WasmFunction, int, int],
        *,
        exports: tuple[Export, ...] = (),
        environment_ptr: int = 0,
        blocks: tuple[Block, ...] = (),
    ) -> None:
        self.name = name
        self.index = index
        self.exports = exports
        self.environment_ptr = environment_ptr
        self.instance = instance
        self.execute = instance.function(_EXECUTE)
        self._reset = reset
        self._blocks = blocks
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

    def reset(self) -> None:
        """Sets the instance's globals again: a trap leaves its stack pointer where it was."""
        function, memory_base, stack_pointer = self._reset
        function(memory_base, stack_pointer)

    def close(self) -> None:
        """Frees the instance; later submissions raise ClosedError. Idempotent."""
        self.instance.close()


@dataclass(slots=True)
class ExecutableLoader:
    """Relinks, compiles, instantiates and reads kernel modules for one device.

    Not thread-safe: the device serialises calls.
    """

    engine: Engine
    memory: GuestMemory
    suballocator: Suballocator
    worker: Worker
    atomics: bool
    next_index: int = 0

    def load_executor(self) -> Executable:
        """The executor without kernels, for submissions without a dispatch.

        Its index is one that no dispatch has.
        """
        module = executor_module(memory=self.memory.type, atomics=self.atomics)
        program = self.engine.compile(module.wasm)
        instance = self.engine.instantiate(program, self.memory.memory)
        stack_pointer = self.worker.stack_pointer
        reset = (instance.function(_INITIALIZE), 0, stack_pointer)
        executable = Executable("executor", 0xFFFFFFFF, instance, reset)
        executable.reset()
        return executable

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
            LimitError: Out of linear memory.
        """
        module = relink(kernel, memory=self.memory.type, atomics=self.atomics)
        what = f"executable {name!r}" if name else "the executable"
        check_features(what, module.features, self.engine.info)
        program = self.engine.compile(module.wasm)
        data = self._place(module)
        environment = self._write_environment(module, constants)
        instance = self.engine.instantiate(program, self.memory.memory)
        try:
            reset = (
                instance.function(_INITIALIZE),
                data.guest_ptr,
                self.worker.stack_pointer,
            )
            library = self._query(module, instance, reset, environment.guest_ptr)
            _check_constants(library, len(constants))
        except LoadError:
            instance.close()
            raise
        executable = Executable(
            name or library.name,
            self.next_index,
            instance,
            reset,
            exports=library.exports,
            environment_ptr=environment.guest_ptr,
            blocks=(data, environment),
        )
        self.next_index += 1
        return executable

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
        self,
        module: RelinkedModule,
        instance: Instance,
        reset: tuple[WasmFunction, int, int],
        environment_ptr: int,
    ) -> ExecutableLibrary:
        """Runs the module's own loading code and reads what it says of itself."""
        initialize, memory_base, stack_pointer = reset
        call = self.worker.call
        try:
            call(instance, initialize, memory_base, stack_pointer)
            call(instance, instance.function(_RELOCATE))
            library_ptr = call(
                instance, instance.function(_QUERY), LIBRARY_VERSION, environment_ptr
            )
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


def _check_constants(library: ExecutableLibrary, byte_length: int) -> None:
    if library.constant_count * 4 != byte_length:
        raise LoadError(
            f"executable {library.name!r} takes {library.constant_count} specialization "
            f"constants, the program gave {byte_length // 4}"
        )
