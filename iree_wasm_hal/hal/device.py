"""HAL devices: one engine, one linear memory, a few workers.

Spec: runtime/src/iree/hal/device.h; queries as runtime/src/iree/hal/drivers/local_sync.
"""

from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING

from iree_wasm_hal.cache.settings import choose_cache
from iree_wasm_hal.engine.signal_guard import SIGNAL_GUARD
from iree_wasm_hal.errors import Error
from iree_wasm_hal.hal.allocator import Allocator
from iree_wasm_hal.hal.call import check_timeout
from iree_wasm_hal.hal.command_buffer import CommandBuffer
from iree_wasm_hal.hal.device_options import (
    DEFAULT_MAX_MEMORY_BYTES,
    check_threads,
    matches_pattern,
    memory_type,
)
from iree_wasm_hal.hal.executable import Executable, ExecutableLoader
from iree_wasm_hal.hal.formats import ExecutableFormat, incompatible_format_error
from iree_wasm_hal.hal.guest_memory import GuestMemory
from iree_wasm_hal.hal.host_queue import HostQueue
from iree_wasm_hal.hal.programs import ProgramSource
from iree_wasm_hal.hal.scheduling import Scheduler
from iree_wasm_hal.hal.statistics import Counters, DeviceStatistics, MemoryStatistics
from iree_wasm_hal.hal.suballocator import Suballocator
from iree_wasm_hal.hal.watchdog import Watchdog
from iree_wasm_hal.hal.worker_pool import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from iree_wasm_hal.cache.code_cache import CodeCache
    from iree_wasm_hal.engine.contract import Engine
    from iree_wasm_hal.hal.buffer import Buffer
    from iree_wasm_hal.hal.fence import Fence
    from iree_wasm_hal.hal.submission import Binding

__all__ = ["DEFAULT_MAX_MEMORY_BYTES", "AllocaFlags", "Device"]

_MAX_REFUSED_FORMATS = 16


class AllocaFlags:
    """Bits of ``iree_hal_alloca_flags_t``."""

    INDETERMINATE_LIFETIME = 1 << 0


class Device(HostQueue):
    """A device whose buffers and kernels live in one linear memory. Thread-safe.

    Queue operations run at once on the calling thread when their wait fence is reached, and
    otherwise, in the order of submission, on the thread that signals it. A failure fails the
    signal fence; where the operation runs at once it is raised as well.

    Args:
        engine: Runs the kernels; stays the caller's to close.
        threads: Workers, the submitting thread included; more than 1 need a shared memory.
        max_memory_bytes: Largest size of the linear memory.
        memory64: Whether addresses have 64 bits, for ``wasm64`` kernels.
        shared_memory: Whether the linear memory is declared shared.
        cache: Where compiled kernels are kept: True for the user's cache, False for nowhere.
        timeout: Seconds that one call into the engine may take; None for no limit but that of the
            call that it is a part of.

    Raises:
        ArgumentError: An argument is out of range.
        EngineError: The engine lacks what is asked for, or a foreign signal handler keeps it from
            catching traps.
        LimitError: The machine cannot give the memory.

    Attributes:
        allocator: Allocates buffers on this device.
        identifier: Matched by ``hal.device.id`` queries.
        refused_formats: The last executable formats that programs asked for and it does not take.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        threads: int = 1,
        max_memory_bytes: int = DEFAULT_MAX_MEMORY_BYTES,
        memory64: bool = False,
        shared_memory: bool = False,
        cache: bool | CodeCache = True,
        timeout: float | None = None,
    ) -> None:
        check_threads(engine.info, threads)
        self._watchdog = Watchdog(engine.info, timeout)
        SIGNAL_GUARD.check(engine.info.name)
        self.engine = engine
        self.identifier = "local-wasm"
        self.threads = threads
        self.refused_formats: list[str] = []
        super().__init__(Scheduler(), Counters())
        self._memory = GuestMemory(
            engine,
            memory_type(max_memory_bytes, memory64=memory64, shared=shared_memory or threads > 1),
        )
        suballocator = Suballocator(self._memory)
        self._suballocator = suballocator
        self.allocator = Allocator(self._memory, suballocator, self._counters)
        self._pool = WorkerPool(self._memory, suballocator, self._counters, self._watchdog, threads)
        self._executables: weakref.WeakSet[Executable] = weakref.WeakSet()
        programs = ProgramSource(
            engine, self._memory.type, atomics=threads > 1, cache=choose_cache(cache)
        )
        self._loader = ExecutableLoader(
            engine, programs, self._memory, suballocator, self._pool, atomics=threads > 1
        )
        self._executor: Executable | None = None
        self._is_given_up = False

    def __repr__(self) -> str:
        state = "closed" if self._scheduler.is_closed else f"{self._memory.byte_length} bytes"
        return f"<hal.device {self.identifier} on {self.engine.info.name}, {state}>"

    # Properties and queries.

    @property
    def is_closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._scheduler.is_closed

    @property
    def timeout(self) -> float | None:
        """Seconds that one call into the engine may take, from the next one on; None for no limit.

        Raises:
            ArgumentError: When set to what is no time.
            EngineError: When set, and the engine cannot end a running kernel.
        """
        return self._watchdog.timeout

    @timeout.setter
    def timeout(self, timeout: float | None) -> None:
        check_timeout(self.engine.info, timeout)
        self._watchdog.timeout = timeout

    @property
    def watchdog(self) -> Watchdog:
        """Ends calls into the engine whose time is up."""
        return self._watchdog

    @property
    def statistics(self) -> DeviceStatistics:
        """What the device did since it was created."""
        return self._counters.snapshot()

    @property
    def memory(self) -> MemoryStatistics:
        """The linear memory now: bytes used, peak, limit, gaps, growths."""
        return self._suballocator.statistics

    def query_i64(self, category: str, key: str) -> tuple[bool, int]:
        """Answers ``hal.device.query``.

        Args:
            category: ``hal.device.id``, ``hal.executable.format``, ``hal.device`` or
                ``hal.dispatch``.
            key: A pattern with ``*`` and ``?`` for ids, a format, or ``concurrency``.

        Returns:
            Whether the key is known, and its value.
        """
        if category == "hal.device.id":
            return True, int(matches_pattern(key, self.identifier))
        if category == "hal.executable.format":
            taken = self._takes(key)
            if not taken and key not in self.refused_formats:
                self.refused_formats = [*self.refused_formats, key][-_MAX_REFUSED_FORMATS:]
            return True, int(taken)
        if category in {"hal.device", "hal.dispatch"} and key == "concurrency":
            return True, self.threads
        return False, 0

    # Executables and command buffers.

    def prepare_executable(
        self,
        executable_format: str,
        data: bytes | memoryview,
        constants: bytes = b"",
        *,
        name: str = "",
    ) -> Executable:
        """Loads a kernel module.

        Args:
            executable_format: Format string of the archive.
            data: The wasm module as the compiler emitted it.
            constants: 32-bit specialization constants, little-endian.
            name: For messages; the library's own name if empty.

        Raises:
            IncompatibleTargetError: The format or a feature is not one this device has.
            WasmError: The module is malformed or not a kernel module.
            LoadError: What the module says of itself is wrong.
            LimitError: Out of linear memory.
            ClosedError: The device is closed.
        """
        if not self._takes(executable_format):
            index64 = self._memory.type.index64
            raise incompatible_format_error([executable_format], self.engine.info, index64=index64)
        if SIGNAL_GUARD.is_disturbed():
            SIGNAL_GUARD.check(self.engine.info.name)
        self._scheduler.check_not_inside()
        with self._scheduler.lock:
            self._scheduler.check_open()
            executable = self._loader.load(bytes(data), bytes(constants), name)
            self._executables.add(executable)
        return executable

    def create_command_buffer(
        self, modes: int = 0, categories: int = 3, binding_capacity: int = 0
    ) -> CommandBuffer:
        """A command buffer ready to record into.

        Args:
            modes: Bits of ``CommandBufferMode``.
            categories: Bits of ``iree_hal_command_category_t``; any command is taken.
            binding_capacity: Number of binding table slots that commands may name.

        Raises:
            ClosedError: The device is closed.
        """
        del categories
        self._scheduler.check_open()
        return CommandBuffer(
            self._memory,
            self._suballocator,
            modes=modes,
            binding_capacity=binding_capacity,
            worker_count=self.threads,
        )

    # Queue operations.

    def queue_alloca(
        self,
        wait: Fence | None,
        signal: Fence | None,
        memory_type: int,
        usage: int,
        byte_length: int,
        flags: int = 0,
    ) -> Buffer:
        """Allocates a transient buffer; its storage is there at once, whatever ``wait`` says.

        Raises as ``Allocator.allocate_buffer`` does.
        """
        try:
            buffer = self.allocator.allocate_buffer(byte_length, memory_type, usage)
        except Error as error:
            if signal is not None:
                signal.fail(error)
            raise
        buffer.allocation.is_transient = not flags & AllocaFlags.INDETERMINATE_LIFETIME
        self.queue_barrier(wait, signal)
        return buffer

    def queue_execute(
        self,
        wait: Fence | None,
        signal: Fence | None,
        command_buffer: CommandBuffer,
        bindings: Sequence[Binding] = (),
    ) -> None:
        """Executes a command buffer: one call into the engine.

        Args:
            wait: Fence to wait for; None for none.
            signal: Fence to signal; None for none.
            command_buffer: Finalized.
            bindings: (buffer or None, byte offset, byte length) per binding table slot.

        Raises:
            InvocationError: The bindings do not fit the commands, or a kernel failed.
            TrapError: A kernel trapped; names it.
            InterruptedCallError: The call was cancelled, or its time is up.
            ClosedError: The device is closed.
        """
        self._scheduler.submit(wait, signal, self._execute, command_buffer, bindings)

    def queue_flush(self) -> None:
        """Starts pending work; here everything starts by itself."""
        self._scheduler.check_open()

    # Control.

    def cancel(self) -> None:
        """Ends what runs in the engine now, from any thread and whatever call it is a part of.

        Where the engine cannot end a kernel, it ends before the next workgroup.

        Raises:
            EngineError: Something took the means of ending a kernel from the engine.
        """
        self._watchdog.cancel_all()

    def close(self) -> None:
        """Gives memory, kernels and threads up; arrays taken from buffers live on. Idempotent.

        Waits for a running submission.
        """
        self._scheduler.check_not_inside()
        with self._scheduler.lock:
            self._scheduler.is_closed = True
            self.allocator.is_closed = True
            if not self._is_given_up:  # Ctrl-C may have ended an earlier close
                self._pool.close()
                for executable in [*self._executables]:
                    executable.close()
                self._memory.close()
                self._is_given_up = True
        self._watchdog.close()

    def __del__(self, _is_at_exit: Callable[[], bool] = sys.is_finalizing) -> None:
        # Memory and kernels go with their references; threads have none to go with. At the
        # interpreter's exit they have ended, and what modules refer to by name may be gone.
        pool = getattr(self, "_pool", None)  # missing when the memory could not be created
        if pool is not None and not _is_at_exit():
            pool.stop()
            self._watchdog.stop()

    # Internals.

    def _takes(self, format_name: str) -> bool:
        format_ = ExecutableFormat.parse(format_name)
        return (
            format_ is not None
            and format_.index64 == self._memory.type.index64
            and format_.features <= self.engine.info.features
        )

    def _execute(self, command_buffer: CommandBuffer, bindings: Sequence[Binding]) -> None:
        self._pool.settle()
        submission = command_buffer.take_submission()
        submission.write(bindings)
        self._counters.submissions += 1
        if submission.command_count:
            if submission.first_executable is None:
                submission.first_executable = self._load_executor()
            if SIGNAL_GUARD.is_disturbed():
                SIGNAL_GUARD.check(self.engine.info.name)
            self._pool.execute(submission)
            self._counters.dispatches += submission.dispatch_count

    def _load_executor(self) -> Executable:
        """The executor for command streams without a dispatch; few programs need it."""
        if self._executor is None:
            self._executor = self._loader.load_executor()
            self._executables.add(self._executor)
        return self._executor
