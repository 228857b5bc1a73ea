"""Executor code: DISPATCH, and the resolution of binding references."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.wasm.expressions import I32, I64, Signature
from iree_wasm_hal.wasm.stream import (
    BINDING_REF,
    BINDING_TABLE_ENTRY,
    DISPATCH_COMMAND,
    MAX_WORKGROUP_COUNT,
    SUBMISSION_BLOCK,
    WHOLE_BUFFER,
    Result,
    Status,
)
from iree_wasm_hal.wasm.stream_worker import worker_block_layout

if TYPE_CHECKING:
    from iree_wasm_hal.wasm.assembler import FunctionBuilder
    from iree_wasm_hal.wasm.executor_options import ExecutorOptions
    from iree_wasm_hal.wasm.expressions import Local, Value, ValueType

__all__ = ["emit_dispatch", "emit_resolve", "emit_resolve_length", "kernel_signature"]

_CLAIM_DIVISOR = 2
"""A claim takes a worker's share of what is left, divided by this: neighbours stay together, and
the last claims, for which the other workers wait, are small."""
_MAX_BATCH = 256
"""The stop flag is looked at between claims."""


def kernel_signature(pointer: ValueType) -> Signature:
    """Type of a kernel: ``iree_hal_executable_dispatch_v0_t``."""
    parameters = ("environment", "dispatch_state", "workgroup_state")
    return Signature(tuple((name, pointer) for name in parameters), (I32,))


def emit_resolve(f: FunctionBuilder, _options: ExecutorOptions) -> None:
    """``resolve``: the guest address of a binding reference."""
    submission, reference = f.parameters
    fields = f.record(BINDING_REF, reference)
    byte_offset = fields.pointer("byte_offset")
    with f.if_(fields.get("slot").lt_s(0)):
        f.return_(byte_offset)
    entry = _table_entry(f, submission, reference)
    f.return_(f.record(BINDING_TABLE_ENTRY, entry).pointer("address") + byte_offset)


def emit_resolve_length(f: FunctionBuilder, _options: ExecutorOptions) -> None:
    """``resolve_length``: the byte length of a binding reference."""
    submission, reference = f.parameters
    fields = f.record(BINDING_REF, reference)
    with f.if_(fields.get("byte_length").ne(WHOLE_BUFFER)):
        f.return_(fields.pointer("byte_length"))
    entry = _table_entry(f, submission, reference)
    whole = f.record(BINDING_TABLE_ENTRY, entry).pointer("byte_length")
    f.return_(whole - fields.pointer("byte_offset"))


def _table_entry(f: FunctionBuilder, submission: Local, reference: Local) -> Local:
    table = f.record(SUBMISSION_BLOCK, submission).pointer("binding_table_address")
    slot = f.record(BINDING_REF, reference).get("slot").to(f.pointer)
    return f.local(f.pointer, table + slot * BINDING_TABLE_ENTRY.byte_length)


class _Dispatch:
    """Locals and records of one dispatch."""

    def __init__(self, f: FunctionBuilder, options: ExecutorOptions) -> None:
        self.f = f
        self.options = options
        self.submission, self.worker, self.address = f.parameters
        self.layout = worker_block_layout(4 if options.pointer is I32 else 8)
        self.block = f.record(SUBMISSION_BLOCK, self.submission)
        self.command = f.record(DISPATCH_COMMAND, self.address)
        self.worker_block = f.record(self.layout.header, self.worker)
        self.state = f.record(
            self.layout.dispatch_state, self.worker, self.layout.dispatch_state_offset
        )
        self.workgroup = f.record(
            self.layout.workgroup_state, self.worker, self.layout.workgroup_state_offset
        )
        counter_offset = self.command.get("counter_offset").to(f.pointer)
        self.counter = f.local(f.pointer, self.submission + counter_offset)
        self.count_x, self.count_y, self.count_z = f.local(I32), f.local(I32), f.local(I32)
        self.total = f.local(I32)

    def fail(self, status: Status, *details: Value | int) -> None:
        f = self.f
        f.return_(f.call("fail", self.submission, self.address, status, *(details or (0, 0, 0, 0))))


def emit_dispatch(f: FunctionBuilder, options: ExecutorOptions) -> None:
    """``dispatch``: claims batches of workgroups and calls the kernel for each."""
    d = _Dispatch(f, options)
    _emit_counts(d)
    with f.if_(f.atomic_load(d.counter).ge_u(d.total)):
        f.return_(Result.COMPLETE)
    required = d.command.get("executable_index")
    with f.if_(required.ne(d.worker_block.get("executable_index"))):
        d.worker_block.set("required_executable", required)
        f.return_(Result.SWITCH)
    if options.kernel_type_index is None:
        d.fail(Status.BAD_COMMAND)
        return
    available = d.worker_block.get("local_memory_byte_length")
    with f.if_(d.command.get("local_memory_byte_length").gt_u(available)):
        d.fail(Status.LOCAL_MEMORY)
    _emit_dispatch_state(d)
    _emit_bindings(d)
    _emit_claims(d)


def _emit_counts(d: _Dispatch) -> None:
    """Sets the counts and their product; returns where it is zero, fails where it is too large."""
    f, command = d.f, d.command
    with f.if_(command.get("indirect")):
        reference = command.address_of("count_slot")
        source = f.local(f.pointer, f.call("resolve", d.submission, reference))
        f.set(d.count_x, f.load(I32, source, 0))
        f.set(d.count_y, f.load(I32, source, 4))
        f.set(d.count_z, f.load(I32, source, 8))
    with f.else_():
        f.set(d.count_x, command.get("workgroup_count_x"))
        f.set(d.count_y, command.get("workgroup_count_y"))
        f.set(d.count_z, command.get("workgroup_count_z"))
    with f.if_(d.count_x.is_zero() | d.count_y.is_zero() | d.count_z.is_zero()):
        f.return_(Result.COMPLETE)
    # x * y cannot wrap in 64 bits; once it is within the limit, neither can times z below 2**16.
    product = f.local(I64, d.count_x.to(I64) * d.count_y.to(I64))
    too_large = product.gt_u(MAX_WORKGROUP_COUNT) | d.count_z.gt_u(0xFFFF)
    with f.if_(too_large | (product * d.count_z.to(I64)).gt_u(MAX_WORKGROUP_COUNT)):
        d.fail(Status.WORKGROUP_COUNT, d.count_x, d.count_y, d.count_z, 0)
    f.set(d.total, (product * d.count_z.to(I64)).to(I32))


def _emit_dispatch_state(d: _Dispatch) -> None:
    f, state, command, layout = d.f, d.state, d.command, d.layout
    for axis, count in zip("xyz", (d.count_x, d.count_y, d.count_z), strict=True):
        state.set(f"workgroup_size_{axis}", command.get(f"workgroup_size_{axis}"))
        state.set(f"workgroup_count_{axis}", count)
    state.set("constant_count", command.get("constant_count"))
    state.set("binding_count", command.get("binding_count"))
    state.set("max_concurrency", f.local(I32, d.block.get("worker_count")).min_u(255))
    state.set("constants", d.address + DISPATCH_COMMAND.byte_length)
    state.set("binding_ptrs", d.worker + layout.binding_ptrs_offset)
    state.set("binding_lengths", d.worker + layout.binding_lengths_offset)
    d.workgroup.set("reserved", 0)
    d.workgroup.set("processor_id", d.worker_block.get("worker_index"))
    d.workgroup.set("local_memory", d.worker_block.pointer("local_memory_address"))
    available = d.worker_block.get("local_memory_byte_length")
    d.workgroup.set("local_memory_size", available)


def _emit_bindings(d: _Dispatch) -> None:
    """Resolves the bindings into this worker's own arrays."""
    f, layout = d.f, d.layout
    first = d.command.get("bindings_offset").to(f.pointer)
    reference = f.local(f.pointer, d.address + first)
    span = d.command.get("binding_count") * BINDING_REF.byte_length
    end = f.local(f.pointer, reference + span.to(f.pointer))
    element = f.local(f.pointer, d.worker)
    with f.block() as done, f.loop() as again:
        f.branch(done, reference.eq(end))
        address = f.call("resolve", d.submission, reference)
        f.store(element, layout.binding_ptrs_offset, address)
        byte_length = f.call("resolve_length", d.submission, reference)
        f.store(element, layout.binding_lengths_offset, byte_length)
        f.set(element, element + layout.pointer_byte_length)
        f.set(reference, reference + BINDING_REF.byte_length)
        f.branch(again)


def _emit_claims(d: _Dispatch) -> None:
    f = d.f
    divisor = f.local(I32, d.block.get("worker_count") * _CLAIM_DIVISOR)
    first, end, batch = f.local(I32), f.local(I32), f.local(I32)
    with f.loop() as claim:
        with f.if_(d.block.atomic_get("stop")):
            f.return_(Result.STOPPED)
        f.set(first, f.atomic_load(d.counter))
        with f.if_(first.ge_u(d.total)):
            f.return_(Result.COMPLETE)
        f.set(batch, (d.total - first) // divisor)
        f.set(batch, batch.min_u(_MAX_BATCH))
        f.set(batch, batch + batch.is_zero())
        f.atomic_add(first, d.counter, batch)
        with f.if_(first.ge_u(d.total)):  # others may have come between
            f.return_(Result.COMPLETE)
        f.set(end, first + batch)
        f.set(end, end.min_u(d.total))
        _emit_workgroups(d, first, end)
        f.branch(claim)


def _emit_workgroups(d: _Dispatch, first: Local, end: Local) -> None:
    """Calls the kernel for the workgroups ``first`` up to ``end``, x fastest."""
    f, options = d.f, d.options
    x = f.local(I32, first % d.count_x)
    rows = f.local(I32, first // d.count_x)
    y = f.local(I32, rows % d.count_y)
    z = f.local(I32, rows // d.count_y)
    d.workgroup.set("workgroup_id_y", y)
    d.workgroup.set("workgroup_id_z", z)
    table_index = d.command.get("function_table_index")
    kernel = f.local(I64 if options.table_index64 else I32)
    f.set(kernel, table_index.to(kernel.type))
    environment = f.local(f.pointer, d.command.pointer("environment_address"))
    dispatch_state = f.local(f.pointer, d.worker + d.layout.dispatch_state_offset)
    workgroup_state = f.local(f.pointer, d.worker + d.layout.workgroup_state_offset)
    kernel_result = f.local(I32)
    with f.block() as done, f.loop() as again:
        d.workgroup.set("workgroup_id_x", x)
        arguments = (environment, dispatch_state, workgroup_state)
        signature = kernel_signature(f.pointer)
        type_index = options.kernel_type_index or 0
        f.set(kernel_result, f.call_indirect(type_index, signature, kernel, *arguments))
        with f.if_(kernel_result):
            d.fail(Status.KERNEL_FAILED, x, y, z, kernel_result)
        f.set(first, first + 1)
        f.branch(done, first.eq(end))
        f.set(x, x + 1)
        f.branch(again, x.lt_u(d.count_x))
        f.set(x, 0)
        f.set(y, y + 1)
        with f.if_(y.eq(d.count_y)):
            f.set(y, 0)
            f.set(z, z + 1)
            d.workgroup.set("workgroup_id_z", z)
        d.workgroup.set("workgroup_id_y", y)
        f.branch(again)
