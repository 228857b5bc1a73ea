"""A minimal host for relinked modules: one memory, a bump allocator, streams executed by hand.

Two backends: the `wasmtime` package itself (an unshared memory, one thread), and the engine
plugin (a shared memory, several threads; wasmtime-py 50.0.1 cannot import shared memories).
"""

from __future__ import annotations

import struct
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import wasmtime

from iree_wasm_hal.engine.contract import MemoryType
from iree_wasm_hal.wasm.relink import RelinkedModule, executor_module, relink
from iree_wasm_hal.wasm.stream import (
    SUBMISSION_BLOCK,
    Result,
    SubmissionReport,
    decode_submission_block,
    encode_binding_table,
    encode_submission_block,
)
from iree_wasm_hal.wasm.stream_worker import worker_block_layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from iree_wasm_hal.engine.contract import Engine, Instance, Memory
    from iree_wasm_hal.wasm.stream_builder import EncodedStream

STACK_BYTE_LENGTH = 1 << 16
NO_EXECUTABLE = 0xFFFF_FFFF

Exports = dict[str, "Callable[..., int | None]"]


class Backend(Protocol):
    memory_type: MemoryType

    def view(self) -> memoryview: ...

    def instantiate(self, module: RelinkedModule) -> Exports: ...


class PackageBackend:
    """The `wasmtime` package: an unshared memory."""

    def __init__(self, page_count: int = 256, *, index64: bool = False) -> None:
        self.memory_type = MemoryType(page_count, page_count, index64=index64)
        config = wasmtime.Config()
        config.wasm_threads = True
        config.wasm_memory64 = True
        config.wasm_relaxed_simd = True
        self._engine = wasmtime.Engine(config)
        self._store = wasmtime.Store(self._engine)
        limits = wasmtime.Limits(page_count, page_count)
        self._memory = wasmtime.Memory(self._store, wasmtime.MemoryType(limits, is_64=index64))
        self._buffer = memoryview(self._memory.get_buffer_ptr(self._store)).cast("B")

    def view(self) -> memoryview:
        return self._buffer

    def instantiate(self, module: RelinkedModule) -> Exports:
        compiled = wasmtime.Module(self._engine, module.wasm)
        instance = wasmtime.Instance(self._store, compiled, [self._memory])
        exports = instance.exports(self._store)
        functions: Exports = {}
        for name in module.export_names:
            function = exports[name]
            assert isinstance(function, wasmtime.Func)
            functions[name] = self._caller(function)
        return functions

    def _caller(self, function: wasmtime.Func) -> Callable[..., int | None]:
        def call(*arguments: int) -> int | None:
            result = function(self._store, *arguments)
            assert result is None or isinstance(result, int)
            return result

        return call


class PluginBackend:
    """An engine plugin: a shared memory."""

    def __init__(self, engine: Engine, page_count: int = 256, *, shared: bool = True) -> None:
        self.memory_type = MemoryType(page_count, page_count, shared=shared)
        self._engine = engine
        self._memory: Memory = engine.create_memory(self.memory_type)
        self._instances: list[Instance] = []

    def view(self) -> memoryview:
        return self._memory.view()

    def instantiate(self, module: RelinkedModule) -> Exports:
        instance = self._engine.instantiate(self._engine.compile(module.wasm), self._memory)
        self._instances.append(instance)
        return {name: instance.function(name) for name in module.export_names}


@dataclass
class Executable:
    """A loaded kernel module: one set of exports per worker."""

    module: RelinkedModule
    workers: list[Exports]
    kernels: dict[str, int]


class Guest:
    """Loads modules and executes streams.

    Args:
        backend: Where the memory and the instances are.
        atomics: Which executor to use.
        worker_count: Threads; each gets a stack, a worker block and instances of its own.
    """

    def __init__(self, backend: Backend, *, atomics: bool, worker_count: int = 1) -> None:
        self.backend = backend
        self.atomics = atomics
        self.index64 = backend.memory_type.index64
        self.view = backend.view()
        self.layout = worker_block_layout(8 if self.index64 else 4)
        self.spin_limit = 200
        self._next = 65536
        self.executables: list[Executable] = []
        self._stacks = [
            self.allocate(STACK_BYTE_LENGTH) + STACK_BYTE_LENGTH for _ in range(worker_count)
        ]
        self.worker_blocks = [self.allocate(self.layout.byte_length) for _ in range(worker_count)]
        self.environment = self.allocate(256)
        bare = executor_module(memory=backend.memory_type, atomics=atomics)
        self.bare = [backend.instantiate(bare) for _ in range(worker_count)]

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Gives back what is allocated inside, zeroed."""
        start = self._next
        yield
        self.view[start : self._next] = bytes(self._next - start)
        self._next = start

    def allocate(self, byte_length: int, alignment: int = 64) -> int:
        address = -(-self._next // alignment) * alignment
        self._next = address + byte_length
        if self._next > len(self.view):
            raise MemoryError(f"guest memory of {len(self.view)} bytes is full")
        return address

    def write(self, address: int, data: bytes) -> None:
        self.view[address : address + len(data)] = data

    def read(self, address: int, byte_length: int) -> bytes:
        return bytes(self.view[address : address + byte_length])

    def place(self, data: bytes) -> int:
        address = self.allocate(len(data))
        self.write(address, data)
        return address

    def load(self, kernel: bytes) -> Executable:
        module = relink(kernel, memory=self.backend.memory_type, atomics=self.atomics)
        base = self.allocate(module.static_data_byte_length, module.static_data_alignment)
        workers = [self.backend.instantiate(module) for _ in self._stacks]
        for exports, stack in zip(workers, self._stacks, strict=True):
            exports["iree_wasm_initialize"](base, stack)
        assert not any(self.read(base, module.static_data_byte_length)), "instantiation wrote"
        for offset, data in module.data_segments:
            self.write(base + offset, data)
        workers[0]["iree_wasm_apply_relocations"]()
        library = workers[0]["iree_hal_executable_library_query"](6, self.environment)
        assert library
        executable = Executable(module, workers, self._kernels(library))
        self.executables.append(executable)
        return executable

    def execute(
        self,
        stream: EncodedStream,
        table: list[tuple[int, int]],
        *,
        first: int = NO_EXECUTABLE,
        stream_address: int | None = None,
        local_memory_byte_length: int = 0,
    ) -> list[Result]:
        """Executes a stream with all workers; returns what each of them got."""
        self.submit(
            stream,
            table,
            first=first,
            stream_address=stream_address,
            local_memory_byte_length=local_memory_byte_length,
        )
        if len(self.worker_blocks) == 1:
            return [self.work(0, first)]
        return self._run_threads(first)

    def submit(
        self,
        stream: EncodedStream,
        table: list[tuple[int, int]],
        *,
        first: int = NO_EXECUTABLE,
        stream_address: int | None = None,
        local_memory_byte_length: int = 0,
    ) -> None:
        """Writes everything that an execution needs."""
        address = self.place(stream.data) if stream_address is None else stream_address
        table_address = self.place(encode_binding_table(table) or bytes(16))
        self.submission = self.allocate(stream.submission_block_byte_length)
        block = encode_submission_block(
            byte_length=stream.submission_block_byte_length,
            stream_address=address,
            binding_table_address=table_address,
            binding_table_count=len(table),
            worker_count=len(self.worker_blocks),
            spin_limit=self.spin_limit,
        )
        self.write(self.submission, block)
        for index, worker in enumerate(self.worker_blocks):
            scratch = self.allocate(local_memory_byte_length) if local_memory_byte_length else 0
            encoded = self.layout.encode(
                worker_index=index,
                executable_index=first,
                local_memory_address=scratch,
                local_memory_byte_length=local_memory_byte_length,
            )
            self.write(worker, encoded)

    def stop(self) -> None:
        """Sets the stop flag of the running submission."""
        struct.pack_into("<I", self.view, self.submission + SUBMISSION_BLOCK.offset("stop"), 1)

    def report(self) -> SubmissionReport:
        return decode_submission_block(self.read(self.submission, 64))

    def _run_threads(self, first: int) -> list[Result]:
        results: dict[int, Result] = {}
        failures: list[BaseException] = []
        start = threading.Barrier(len(self.worker_blocks))

        def work(index: int) -> None:
            try:
                start.wait(timeout=10)
                results[index] = self.work(index, first)
            except Exception as error:  # handed to the test's own thread
                # What a host thread must do when its worker trapped.
                self.stop()
                failures.append(error)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(len(self.worker_blocks))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert not any(thread.is_alive() for thread in threads), "workers hang"
        if failures:
            raise failures[0]
        return [results[i] for i in range(len(threads))]

    def work(self, index: int, first: int) -> Result:
        """What a worker's host thread does for one submission."""
        worker = self.worker_blocks[index]
        executable_index = first
        header = self.layout.header
        while True:
            exports = self.bare[index]
            if executable_index != NO_EXECUTABLE:
                exports = self.executables[executable_index].workers[index]
            result = Result(exports["iree_wasm_execute"](self.submission, worker) or 0)
            if result is Result.SWITCH:
                at = worker + header.offset("required_executable")
                (executable_index,) = struct.unpack_from("<I", self.view, at)
                struct.pack_into(
                    "<I", self.view, worker + header.offset("executable_index"), executable_index
                )
            elif result is not Result.YIELD:
                return result

    def _pointer(self, address: int) -> int:
        size = 8 if self.index64 else 4
        return int.from_bytes(self.view[address : address + size], "little")

    def _kernels(self, library: int) -> dict[str, int]:
        """Table index by kernel name, from iree_hal_executable_library_v0_t."""
        # header, imports {count, symbols}, exports {count, ptrs, attrs, params, occupancy, names}
        size = 8 if self.index64 else 4
        exports = library + 3 * size
        (count,) = struct.unpack_from("<I", self.view, exports)
        pointers, names = self._pointer(exports + size), self._pointer(exports + 5 * size)
        kernels = {}
        for i in range(count):
            name = self._pointer(names + i * size)
            end = name
            while self.view[end]:
                end += 1
            kernels[bytes(self.view[name:end]).decode()] = self._pointer(pointers + i * size)
        return kernels
