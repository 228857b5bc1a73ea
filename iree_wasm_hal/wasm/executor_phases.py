"""Executor code: the walk over the stream, joining and closing phases, reporting a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.wasm.expressions import I32, Local
from iree_wasm_hal.wasm.stream import (
    COMMAND_HEADER,
    PHASE_COMMAND,
    SUBMISSION_BLOCK,
    Opcode,
    Result,
    Status,
)
from iree_wasm_hal.wasm.stream_worker import worker_block_layout

if TYPE_CHECKING:
    from iree_wasm_hal.wasm.assembler import FunctionBuilder, Record
    from iree_wasm_hal.wasm.executor_options import ExecutorOptions
    from iree_wasm_hal.wasm.expressions import Label, Value

__all__ = ["emit_close", "emit_execute", "emit_fail", "emit_join", "emit_leave"]

CLOSED = 1 << 31
"""Bit of a phase's state word, tested as its sign."""
NO_PHASE = -1
"""Stream offset of the joined phase when there is none."""
_WAIT_TIMEOUT_NS = 10_000_000
"""Longest sleep before the stop flag is looked at: no engine interrupts a waiting worker."""


def emit_fail(f: FunctionBuilder, _options: ExecutorOptions) -> None:
    """``fail``: reports the first failure, stops everybody, returns FAILED."""
    submission, command, status, x, y, z, kernel_result = f.parameters
    block = f.record(SUBMISSION_BLOCK, submission)
    header = f.record(COMMAND_HEADER, command)
    old = f.local(I32)
    f.atomic_compare_exchange(old, submission, SUBMISSION_BLOCK.offset("status"), 0, status)
    with f.if_(old.is_zero()):
        block.set("failed_command_index", header.get("command_index"))
        block.set("failed_workgroup_x", x)
        block.set("failed_workgroup_y", y)
        block.set("failed_workgroup_z", z)
        block.set("kernel_result", kernel_result)
    block.atomic_set("stop", 1)
    f.return_(Result.FAILED)


def emit_join(f: FunctionBuilder, _options: ExecutorOptions) -> None:
    """``join_phase``: 1 when inside now, 0 when the phase is closed."""
    (state,) = f.parameters
    old = f.local(I32)
    f.atomic_add(old, state, 1)
    with f.if_(old.lt_s(0)):
        f.atomic_sub(old, state, 1)
        f.return_(0)
    f.return_(1)


def emit_leave(f: FunctionBuilder, options: ExecutorOptions) -> None:
    """``leave_phase``: the last one out wakes those who wait to close the phase."""
    submission, state = f.parameters
    old = f.local(I32)
    f.atomic_sub(old, state, 1)
    if options.atomics and options.can_wait:
        # Notifying is a call into the engine: only where somebody can be waiting.
        several = f.record(SUBMISSION_BLOCK, submission).get("worker_count").gt_u(1)
        with f.if_(old.eq(1) & several):
            f.notify_all(state)


def emit_close(f: FunctionBuilder, options: ExecutorOptions) -> None:
    """``close_phase``: leaves, then returns COMPLETE (0) once the phase is closed.

    STOPPED when the stop flag is set meanwhile; YIELD when it would have to sleep but cannot.
    The worker has left the phase in these cases too.
    """
    submission, worker, state = f.parameters
    block = f.record(SUBMISSION_BLOCK, submission)
    f.run(f.call("leave_phase", submission, state))
    current, old = f.local(I32), f.local(I32)
    polls = f.local(I32, block.get("spin_limit"))
    with f.loop() as again:
        f.set(current, f.atomic_load(state))
        with f.if_(current.lt_s(0)):
            f.return_(0)
        with f.if_(current.is_zero()):
            f.atomic_compare_exchange(old, state, 0, 0, CLOSED)
            f.branch(again, old)
            f.return_(0)
        with f.if_(block.atomic_get("stop")):
            f.return_(Result.STOPPED)
        with f.if_(polls):
            f.set(polls, polls - 1)
            f.pause(old, worker)
            f.branch(again)
        if options.atomics and options.can_wait:
            f.wait32(old, state, current, _WAIT_TIMEOUT_NS)
            f.branch(again)
        else:
            f.return_(Result.YIELD)


class _Walk:
    """Locals and records that the parts of ``iree_wasm_execute`` share."""

    def __init__(self, f: FunctionBuilder, options: ExecutorOptions) -> None:
        self.f = f
        self.submission, self.worker = f.parameters
        self.block = f.record(SUBMISSION_BLOCK, self.submission)
        layout = worker_block_layout(4 if options.pointer is I32 else 8)
        self.worker_block = f.record(layout.header, self.worker)
        self.stream = f.local(options.pointer, self.block.pointer("stream_address"))
        self.cursor = f.local(I32)
        self.phase = f.local(I32, NO_PHASE)
        self.state = f.local(options.pointer)
        self.command = f.local(options.pointer)
        self.opcode, self.result = f.local(I32), f.local(I32)

    def header(self) -> Record:
        return self.f.record(COMMAND_HEADER, self.command)

    def seek(self, stream_offset: Value) -> None:
        """``command`` = address of the command at a stream offset."""
        self.f.set(self.command, self.stream + stream_offset.to(self.f.pointer))

    def join(self, stream_offset: Local) -> Value:
        """Sets ``state`` from the PHASE command at ``command``, joins; 1 when inside."""
        counter_offset = self.header().get("counter_offset")
        self.f.set(self.phase, stream_offset)
        self.f.set(self.state, self.submission + counter_offset.to(self.f.pointer))
        return self.f.call("join_phase", self.state)

    def skip_phase(self) -> None:
        """Moves the cursor behind the closed phase at ``command``."""
        next_phase = self.f.record(PHASE_COMMAND, self.command).get("next_phase_offset")
        self.f.set(self.cursor, next_phase)
        self.f.set(self.phase, NO_PHASE)

    def save(self) -> None:
        """Keeps the place for the next call."""
        self.worker_block.set("resume_offset", self.cursor)
        self.worker_block.set("resume_phase", self.phase)


def emit_execute(f: FunctionBuilder, options: ExecutorOptions) -> None:
    """``iree_wasm_execute``: see the module docstring of `executor`."""
    walk = _Walk(f, options)
    _emit_resume(f, walk)
    with f.loop() as again:
        walk.seek(walk.cursor)
        f.set(walk.opcode, walk.header().get("opcode"))
        with f.if_(walk.opcode.lt_u(Opcode.DISPATCH)):
            _emit_boundary(f, walk, again)
        with f.block() as leave:
            f.set(walk.result, Result.STOPPED)
            f.branch(leave, walk.block.atomic_get("stop"))
            _emit_command(f, walk)
            f.branch(leave, walk.result)
            f.set(walk.cursor, walk.cursor + walk.header().get("byte_length"))
            f.branch(again)
        f.run(f.call("leave_phase", walk.submission, walk.state))
        with f.if_(walk.result.eq(Result.SWITCH)):
            walk.save()
        f.return_(walk.result)


def _emit_resume(f: FunctionBuilder, walk: _Walk) -> None:
    f.set(walk.cursor, walk.worker_block.get("resume_offset"))
    with f.if_(walk.cursor):
        phase = f.local(I32, walk.worker_block.get("resume_phase"))
        walk.seek(phase)
        with f.if_(walk.join(phase).is_zero()):
            walk.skip_phase()
    with f.else_():
        # Phases before this one are closed.
        f.set(walk.cursor, walk.block.atomic_get("phase_cursor"))


def _emit_boundary(f: FunctionBuilder, walk: _Walk, again: Label) -> None:
    """PHASE and END: close the phase before; join the next."""
    with f.if_(walk.phase.ne(NO_PHASE)):
        f.set(walk.result, f.call("close_phase", walk.submission, walk.worker, walk.state))
        with f.if_(walk.result):
            walk.save()
            f.return_(walk.result)
    with f.if_(walk.opcode.eq(Opcode.END)):
        walk.worker_block.set("resume_offset", 0)
        with f.if_(walk.block.atomic_get("status")):
            f.return_(Result.STOPPED)
        f.return_(Result.COMPLETE)
    walk.block.atomic_set("phase_cursor", walk.cursor)
    with f.if_(walk.join(walk.cursor)):
        f.set(walk.cursor, walk.cursor + walk.header().get("byte_length"))
    with f.else_():
        walk.skip_phase()
    f.branch(again)


def _emit_command(f: FunctionBuilder, walk: _Walk) -> None:
    arguments = (walk.submission, walk.worker, walk.command)
    emitters = {
        Opcode.DISPATCH: "dispatch",
        Opcode.FILL: "fill",
        Opcode.COPY: "copy",
        Opcode.UPDATE: "update",
    }
    with f.block() as done:
        for opcode, name in emitters.items():
            with f.if_(walk.opcode.eq(opcode)):
                f.set(walk.result, f.call(name, *arguments))
                f.branch(done)
        f.set(
            walk.result,
            f.call("fail", walk.submission, walk.command, Status.BAD_COMMAND, 0, 0, 0, 0),
        )
