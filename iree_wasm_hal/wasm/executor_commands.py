"""Executor code: FILL, COPY and UPDATE, split in chunks that workers claim."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.wasm.expressions import I32, I64, constant
from iree_wasm_hal.wasm.stream import (
    COMMAND_HEADER,
    COPY_COMMAND,
    FILL_COMMAND,
    SUBMISSION_BLOCK,
    UPDATE_COMMAND,
    Result,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from iree_wasm_hal.wasm.assembler import FunctionBuilder
    from iree_wasm_hal.wasm.executor_options import ExecutorOptions
    from iree_wasm_hal.wasm.expressions import Local

__all__ = ["emit_copy", "emit_copy_claimed", "emit_fill", "emit_update"]

_CHUNK_BYTE_LENGTH = 1 << 20
"""Claimed at a time: long enough to make claims free, short enough to stop within 0.1 ms."""
_FILL_BLOCK_BYTE_LENGTH = 1 << 15
"""A pattern is spread by copying from the start of the chunk: stays in the first-level cache."""


def emit_fill(f: FunctionBuilder, options: ExecutorOptions) -> None:
    """``fill``: claims chunks and fills them with the 8-byte pattern."""
    submission, _worker, command = f.parameters
    fill = f.record(FILL_COMMAND, command)
    reference = fill.address_of("target_slot")
    target = f.local(options.pointer, f.call("resolve", submission, reference))
    byte_length = f.local(options.pointer, f.call("resolve_length", submission, reference))
    pattern = f.local(I64, fill.get("pattern"))
    byte = f.local(I32, pattern.to(I32) & 0xFF)
    uniform = pattern.eq(byte.to(I64) * constant(I64, 0x0101010101010101))
    start, size = f.local(options.pointer), f.local(options.pointer)

    def fill_chunk() -> None:
        with f.if_(uniform):
            f.memory_fill(target + start, byte, size)
        with f.else_():
            _emit_spread(f, f.local(options.pointer, target + start), size, pattern)

    chunk = f.local(options.pointer, _CHUNK_BYTE_LENGTH)
    _emit_chunks(f, (submission, command), byte_length, chunk, (start, size), fill_chunk)


def _emit_spread(f: FunctionBuilder, target: Local, size: Local, pattern: Local) -> None:
    """Writes the pattern once, then copies what is there behind itself, doubling it."""
    done, step = f.local(f.pointer, 0), f.local(f.pointer)
    with f.if_(size.lt_u(8)):
        with f.loop() as again:
            f.store(target + done, 0, (pattern >> (done * 8).to(I64)).to(I32), 1)
            f.set(done, done + 1)
            f.branch(again, done.lt_u(size))
        f.set(done, size)
    with f.else_():
        f.store(target, 0, pattern)
        f.set(done, 8)
    with f.block() as full, f.loop() as again:
        f.branch(full, done.eq(size))
        f.set(step, done.min_u(size - done))
        f.set(step, step.min_u(_FILL_BLOCK_BYTE_LENGTH))
        f.memory_copy(target + done, target, step)
        f.set(done, done + step)
        f.branch(again)


def emit_copy(f: FunctionBuilder, _options: ExecutorOptions) -> None:
    """``copy``: resolves both ranges."""
    submission, _worker, command = f.parameters
    copy = f.record(COPY_COMMAND, command)
    source = f.call("resolve", submission, command + COPY_COMMAND.offset("source_slot"))
    target = f.call("resolve", submission, command + COPY_COMMAND.offset("target_slot"))
    byte_length = copy.pointer("target_byte_length")
    f.return_(f.call("copy_claimed", submission, command, target, source, byte_length))


def emit_update(f: FunctionBuilder, _options: ExecutorOptions) -> None:
    """``update``: copies from the stream itself."""
    submission, _worker, command = f.parameters
    update = f.record(UPDATE_COMMAND, command)
    target = f.call("resolve", submission, command + UPDATE_COMMAND.offset("target_slot"))
    source = command + UPDATE_COMMAND.byte_length
    byte_length = update.pointer("target_byte_length")
    f.return_(f.call("copy_claimed", submission, command, target, source, byte_length))


def emit_copy_claimed(f: FunctionBuilder, options: ExecutorOptions) -> None:
    """``copy_claimed``: claims chunks and copies them; overlapping ranges in one piece."""
    submission, command, target, source, byte_length = f.parameters
    overlap = (target - source).lt_u(byte_length) | (source - target).lt_u(byte_length)
    chunk = f.local(options.pointer, _CHUNK_BYTE_LENGTH)
    with f.if_(overlap):
        f.set(chunk, byte_length)
    start, size = f.local(options.pointer), f.local(options.pointer)
    _emit_chunks(
        f,
        (submission, command),
        byte_length,
        chunk,
        (start, size),
        lambda: f.memory_copy(target + start, source + start, size),
    )


def _emit_chunks(
    f: FunctionBuilder,
    blocks: tuple[Local, Local],
    byte_length: Local,
    chunk: Local,
    piece: tuple[Local, Local],
    emit_piece: Callable[[], None],
) -> None:
    """Claims pieces of ``chunk`` bytes until none is left; ``piece`` is (start, size) of each."""
    submission, command = blocks
    start, size = piece
    block = f.record(SUBMISSION_BLOCK, submission)
    counter_offset = f.record(COMMAND_HEADER, command).get("counter_offset")
    counter = f.local(f.pointer, submission + counter_offset.to(f.pointer))
    rest = (byte_length % chunk).is_zero().is_zero().to(f.pointer)
    count = f.local(I32, (byte_length // chunk + rest).to(I32))
    index = f.local(I32)
    with f.loop() as again:
        with f.if_(block.atomic_get("stop")):
            f.return_(Result.STOPPED)
        f.atomic_add(index, counter, 1)
        with f.if_(index.ge_u(count)):
            f.return_(Result.COMPLETE)
        f.set(start, index.to(f.pointer) * chunk)
        f.set(size, byte_length - start)
        f.set(size, size.min_u(chunk))
        emit_piece()
        f.branch(again)
