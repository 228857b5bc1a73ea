"""From a wasm module to AOT images, one for each part, on several cores."""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from iree_wasm_hal.engine import can_start_threads, thread_stacks
from iree_wasm_hal.errors import WasmCompileError
from iree_wasm_hal_wamr_aot.c_api import MESSAGE_CAPACITY, ffi, message_text
from iree_wasm_hal_wamr_aot.parts import assign_parts, owned_functions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from iree_wasm_hal_wamr_aot.compiler_library import Compiler

# LLVM recurses over nested expressions and dominator trees; a user may have set small stacks.
_STACK_BYTE_LENGTH = 16 * 1024**2


@dataclass(frozen=True, slots=True)
class CodeOptions:
    """What machine code is generated, but for what the module itself says."""

    cpu_features: tuple[str, ...]
    vector_bits: int
    explicit_bounds_checks: bool


@dataclass(frozen=True, slots=True)
class CompiledParts:
    """The images, and the part that owns each function."""

    owners: tuple[int, ...]
    parts: tuple[bytes, ...]


class _TooManyCopiesError(Exception):
    """The functions call one another so much that parts would copy most of the module."""


class ModuleCompiler:
    """A validated module that is to be compiled.

    Args:
        compiler: The open library.
        wasm: The module.

    Raises:
        WasmCompileError: The module is not valid, or WAMR does not know something in it.
    """

    def __init__(self, compiler: Compiler, wasm: bytes) -> None:
        self._compiler = compiler
        self._lib = lib = compiler.lib
        message = ffi.new("char[]", MESSAGE_CAPACITY)
        pointer = lib.iwh_aotc_module_load(wasm, len(wasm), message, MESSAGE_CAPACITY)
        if not pointer:
            raise WasmCompileError(message_text(message))
        self._pointer = ffi.gc(pointer, lib.iwh_aotc_module_release)

    def compile(
        self, options: CodeOptions, thread_count: int, report: Callable[[int, int], None]
    ) -> CompiledParts:
        """Generates the code.

        An interruption of the calling thread ends it at once; parts that are being compiled end
        before LLVM's next pass.

        Args:
            options: What code to generate.
            thread_count: Threads at most.
            report: Called from this thread with the bytes of wasm done and all of them.

        Raises:
            WasmCompileError: The compiler cannot; has its words.
        """
        lib = self._lib
        count = int(lib.iwh_aotc_module_function_count(self._pointer))
        lengths = [
            int(lib.iwh_aotc_module_body_byte_length(self._pointer, index))
            for index in range(count)
        ]
        reached = -1

        def report_progress(done: int, total: int) -> None:
            nonlocal reached
            if done > reached:  # the second attempt begins anew
                reached = done
                report(done, total)

        try:
            return self._compile_parts(
                options, thread_count, report_progress, lengths, assign_parts(lengths)
            )
        except _TooManyCopiesError:
            return self._compile_parts(options, 1, report_progress, lengths, [0] * count)

    def _compile_parts(
        self,
        options: CodeOptions,
        thread_count: int,
        report: Callable[[int, int], None],
        lengths: list[int],
        owners: list[int],
    ) -> CompiledParts:
        part_count = max(owners, default=0) + 1
        byte_lengths = [0] * part_count
        for owner, byte_length in zip(owners, lengths, strict=True):
            byte_lengths[owner] += byte_length
        total, done = sum(lengths), 0
        report(0, total)
        parts = []
        with _started(min(thread_count, part_count)) as start:
            wanted = [owned_functions(owners, part) for part in range(part_count)]
            results = start(lambda one: self._compile_part(options, one), wanted)
            try:
                for byte_length, image in zip(byte_lengths, results, strict=True):
                    parts.append(image)
                    done += byte_length
                    report(done, total)
            except _TooManyCopiesError:
                raise
            except BaseException:  # Ctrl-C too: the interpreter ends only after its threads
                self._lib.iwh_aotc_module_cancel(self._pointer)
                raise
        return CompiledParts(tuple(owners), tuple(parts))

    def _compile_part(self, options: CodeOptions, wanted: bytes) -> bytes:
        lib = self._lib
        features = ffi.new("char[]", ",".join(f"+{one}" for one in options.cpu_features).encode())
        tune_cpu = ffi.new("char[]", self._compiler.host_cpu.encode())
        native_options = ffi.new(
            "iwh_aotc_options *",
            {
                "features": features,
                "tune_cpu": tune_cpu,
                "vector_bit_width": options.vector_bits,
                "explicit_bounds_checks": options.explicit_bounds_checks,
            },
        )
        result = ffi.new("iwh_aotc_buffer **")
        message = ffi.new("char[]", MESSAGE_CAPACITY)
        outcome = lib.iwh_aotc_compile(
            self._pointer, native_options, wanted, result, message, MESSAGE_CAPACITY
        )
        if outcome == lib.IWH_AOTC_TOO_MANY_COPIES:
            raise _TooManyCopiesError
        if outcome != lib.IWH_AOTC_COMPILED:
            raise WasmCompileError(message_text(message))
        buffer = ffi.gc(result[0], lib.iwh_aotc_buffer_release)
        byte_length = lib.iwh_aotc_buffer_byte_length(buffer)
        return bytes(ffi.buffer(lib.iwh_aotc_buffer_data(buffer), byte_length))


def core_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


@contextlib.contextmanager
def _started(thread_count: int) -> Iterator[Any]:
    """Gives a ``map`` whose calls run on threads; without any to be had, on this one."""
    if not can_start_threads(thread_count):
        yield map
        return
    pool = ThreadPoolExecutor(thread_count, thread_name_prefix="wamr-aot-compile")

    def start(function: Callable[[bytes], bytes], items: list[bytes]) -> Iterator[bytes]:
        try:
            with thread_stacks(
                _STACK_BYTE_LENGTH
            ):  # the pool starts its threads as it is given work
                return pool.map(function, items)
        except RuntimeError:  # no more threads are to be had, nor is memory for their stacks
            pool.shutdown(wait=False, cancel_futures=True)
            return map(function, items)

    try:
        yield start
    finally:
        # Not waited for: after an interruption the caller goes on at once.
        pool.shutdown(wait=False, cancel_futures=True)
