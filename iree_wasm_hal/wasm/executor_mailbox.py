"""The executor's code for helpers that park in wasm between submissions.

A helper lives in ``iree_wasm_serve``; the thread that submits calls ``iree_wasm_submit``. Nobody
waits for a helper that has not come, and none is waited for that came too late:

* **Opening.** The submitter writes the submission's address and makes ``generation`` odd. Helpers
  poll that word, then sleep on it; it wakes them only if somebody sleeps.
* **Joining.** A helper sets its slot to INSIDE and looks at ``generation`` again. If it is still
  the odd one, the submitter has yet to close and will see the slot; if not, the helper steps out.
* **Closing.** When its own share is done the submitter makes ``generation`` even, and then waits
  for every slot to be OUT. A helper that is INSIDE has at most its last claim to finish.

All of these are sequentially consistent, and so of a helper's step in and the submitter's closing
one at least sees the other.

A helper leaves for its host thread when it must go on in another module (SWITCH, its slot stays
INSIDE), when nothing came for ``idle_slice_count`` sleeps, and when the host changed ``eviction``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.wasm.expressions import I32, I64, constant
from iree_wasm_hal.wasm.stream import Result
from iree_wasm_hal.wasm.stream_mailbox import MAILBOX, MAILBOX_SLOT, MAILBOX_STRIDE, SlotState
from iree_wasm_hal.wasm.stream_worker import worker_block_layout

if TYPE_CHECKING:
    from iree_wasm_hal.wasm.assembler import FunctionBuilder, Record
    from iree_wasm_hal.wasm.executor_options import ExecutorOptions
    from iree_wasm_hal.wasm.expressions import Local, Value

__all__ = [
    "SERVE",
    "SUBMIT",
    "emit_await",
    "emit_serve",
    "emit_step_out",
    "emit_submit",
]

SERVE = "iree_wasm_serve"
SUBMIT = "iree_wasm_submit"

_SLICE_NS = 20_000_000
"""A helper's sleep, after which it looks at ``eviction``: no engine interrupts a sleeper."""
_JOIN_SLICE_NS = 10_000_000
"""The submitter's: the slot of a helper that trapped is set by its host thread, which wakes
nobody."""


def emit_step_out(f: FunctionBuilder, _options: ExecutorOptions) -> None:
    """``step_out``: sets the slot to OUT and wakes the submitter if it sleeps."""
    mailbox, slot = f.parameters
    f.record(MAILBOX_SLOT, slot).atomic_set("state", SlotState.OUT)
    with f.if_(f.record(MAILBOX, mailbox).atomic_get("joiner_sleeps")):
        f.notify_all(f.record(MAILBOX_SLOT, slot).address_of("state"))


def emit_await(f: FunctionBuilder, _options: ExecutorOptions) -> None:
    """``await_submission``: 1 when the slot is INSIDE, 0 when the helper is to leave."""
    mailbox, slot = f.parameters
    box, own = f.record(MAILBOX, mailbox), f.record(MAILBOX_SLOT, slot)
    polls = f.local(I32, box.get("spin_limit"))
    slices = f.local(I32, box.get("idle_slice_count"))
    generation, old, outcome = f.local(I32), f.local(I32), f.local(I32)
    with f.loop() as again:
        f.set(generation, box.atomic_get("generation"))
        is_new = generation.ne(own.get("generation"))
        with f.if_(is_new & (generation & 1)):
            own.set("generation", generation)
            own.atomic_set("state", SlotState.INSIDE)
            with f.if_(box.atomic_get("generation").eq(generation)):
                f.return_(1)
            f.run(f.call("step_out", mailbox, slot))
            f.branch(again)
        with f.if_(box.atomic_get("eviction").ne(own.get("eviction")) | slices.is_zero()):
            f.return_(0)
        with f.if_(polls):
            f.set(polls, polls - 1)
            f.pause(old, own.address_of("generation"))
            f.branch(again)
        f.set(slices, slices - 1)
        f.atomic_add(old, box.address_of("sleeper_count"), 1)
        f.wait32(outcome, box.address_of("generation"), generation, _SLICE_NS)
        f.atomic_sub(old, box.address_of("sleeper_count"), 1)
        f.branch(again)


def emit_serve(f: FunctionBuilder, options: ExecutorOptions) -> None:
    """``iree_wasm_serve(mailbox, worker)``: see the module docstring."""
    mailbox, worker = f.parameters
    header = f.record(worker_block_layout(4 if options.pointer is I32 else 8).header, worker)
    slot = _slot(f, mailbox, header.get("worker_index"))
    own = f.record(MAILBOX_SLOT, slot)
    submission, result = f.local(f.pointer), f.local(I32)
    with f.loop() as again:
        with f.if_(own.get("state").is_zero()):
            with f.if_(f.call("await_submission", mailbox, slot).is_zero()):
                f.return_(Result.IDLE)
            header.set("resume_offset", 0)
        f.set(submission, f.record(MAILBOX, mailbox).pointer("submission_address"))
        f.set(result, f.call("iree_wasm_execute", submission, worker))
        with f.if_(result.eq(Result.SWITCH)):
            f.return_(Result.SWITCH)
        f.run(f.call("step_out", mailbox, slot))
        f.branch(again)


def emit_submit(f: FunctionBuilder, _options: ExecutorOptions) -> None:
    """``iree_wasm_submit(mailbox, submission, worker)``: returns what the own share came to.

    After SWITCH it is called again, in the other module: the mailbox is still open then.
    """
    mailbox, submission, worker = f.parameters
    box = f.record(MAILBOX, mailbox)
    old, result = f.local(I32), f.local(I32)
    generation = box.address_of("generation")
    with f.if_((box.atomic_get("generation") & 1).is_zero()):
        box.set("submission_address", submission.to(I64))
        f.atomic_add(old, generation, 1)
        with f.if_(box.atomic_get("sleeper_count")):
            f.notify_all(generation)
    f.set(result, f.call("iree_wasm_execute", submission, worker))
    with f.if_(result.eq(Result.SWITCH)):
        f.return_(Result.SWITCH)
    f.atomic_add(old, generation, 1)
    _emit_join(f, mailbox, box, worker)
    f.return_(result)


def _emit_join(f: FunctionBuilder, mailbox: Local, box: Record, worker: Local) -> None:
    """Waits until every helper is out."""
    index, polls = f.local(I32, 1), f.local(I32, box.get("spin_limit"))
    outcome = f.local(I32)
    slot = f.local(f.pointer)
    with f.block() as done, f.loop() as again:
        f.branch(done, index.ge_u(box.get("worker_count")))
        f.set(slot, _slot(f, mailbox, index))
        own = f.record(MAILBOX_SLOT, slot)
        with f.if_(own.atomic_get("state").is_zero()):
            f.set(index, index + 1)
            f.branch(again)
        with f.if_(polls):
            f.set(polls, polls - 1)
            f.pause(outcome, worker)
            f.branch(again)
        box.atomic_set("joiner_sleeps", 1)
        inside = constant(I32, SlotState.INSIDE)
        f.wait32(outcome, own.address_of("state"), inside, _JOIN_SLICE_NS)
        f.branch(again)


def _slot(f: FunctionBuilder, mailbox: Local, worker_index: Value) -> Local:
    return f.local(f.pointer, mailbox + (worker_index * MAILBOX_STRIDE).to(f.pointer))
