"""The executor: the wasm functions that walk a command stream, injected into every module.

``iree_wasm_execute(submission, worker) -> Result`` is called once per worker and submission. All
workers walk the whole stream, phase by phase (`stream` has the layouts):

* **Claiming.** Every command has a claim counter in the submission block. A worker adds to it
  atomically and owns the workgroups (or chunks of a fill, copy or update) it got; a counter at or
  above the total means there is nothing left, and the worker goes on to the next command of the
  phase, while others may still be busy with this one.
* **Phases.** Every phase has a state word: how many workers are inside, and a CLOSED bit. A
  worker joins a phase before it looks at its commands. At the next PHASE (or END) it has seen
  every counter exhausted; it leaves, and the phase is closed by whoever finds it empty then. No
  claimed work can be unfinished at that moment, because claimers are inside. Those who must wait
  spin, then sleep in ``memory.atomic.wait32`` with a time-out after which they look at the stop
  flag. Nobody waits for a worker that has not come yet: it finds the phases closed and skips
  them. It must not look at their commands again: an indirect workgroup count may have been
  overwritten by a later phase.
* **Stopping.** The stop flag is read at every claim and while waiting. A worker whose kernel
  returns non-zero reports it (the first report wins) and sets the flag; when a worker traps, its
  host thread sets it.
* **Switching.** A dispatch of another executable with work left makes a worker leave the phase
  and return SWITCH, its place kept in its own worker block. Its host thread calls the other
  module with the same two blocks, and the worker joins again where it left. Workers switch
  independently of each other; a dispatch that others have already exhausted needs no switch.

Without atomics (one worker) the same code is emitted with plain loads and stores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iree_wasm_hal.wasm.assembler import FunctionBuilder
from iree_wasm_hal.wasm.executor_commands import (
    emit_copy,
    emit_copy_claimed,
    emit_fill,
    emit_update,
)
from iree_wasm_hal.wasm.executor_dispatch import emit_dispatch, emit_resolve, emit_resolve_length
from iree_wasm_hal.wasm.executor_mailbox import (
    SERVE,
    SUBMIT,
    emit_await,
    emit_serve,
    emit_step_out,
    emit_submit,
)
from iree_wasm_hal.wasm.executor_phases import (
    emit_close,
    emit_execute,
    emit_fail,
    emit_join,
    emit_leave,
)
from iree_wasm_hal.wasm.expressions import I32, Signature

if TYPE_CHECKING:
    from collections.abc import Callable

    from iree_wasm_hal.wasm.executor_options import ExecutorOptions

__all__ = [
    "EXECUTE",
    "EXPORTS",
    "SERVE",
    "SUBMIT",
    "ExecutorFunctions",
    "emit_executor",
]

EXECUTE = "iree_wasm_execute"
EXPORTS = (EXECUTE, SUBMIT, SERVE)
"""Functions that the host calls; all but the first only where workers can wait in wasm."""


@dataclass(frozen=True, slots=True)
class ExecutorFunctions:
    """The emitted functions, in index order."""

    names: tuple[str, ...]
    signatures: tuple[Signature, ...]
    bodies: tuple[bytes, ...]


def _functions(options: ExecutorOptions) -> dict[str, tuple[Signature, Callable[..., None]]]:
    pointer = options.pointer
    blocks = (("submission", pointer), ("worker", pointer))
    command = (*blocks, ("command", pointer))
    reference = (("submission", pointer), ("reference", pointer))
    state = (("state", pointer),)
    workgroup = (("x", I32), ("y", I32), ("z", I32))
    fail = (blocks[0], ("command", pointer), ("status", I32), *workgroup, ("kernel_result", I32))
    ranges = (("target", pointer), ("source", pointer), ("byte_length", pointer))
    claimed = (blocks[0], ("command", pointer), *ranges)
    result = (I32,)
    functions: dict[str, tuple[Signature, Callable[..., None]]] = {
        "resolve": (Signature(reference, (pointer,)), emit_resolve),
        "resolve_length": (Signature(reference, (pointer,)), emit_resolve_length),
        "fail": (Signature(fail, result), emit_fail),
        "join_phase": (Signature(state, result), emit_join),
        "leave_phase": (Signature((blocks[0], *state), ()), emit_leave),
        "close_phase": (Signature((*blocks, *state), result), emit_close),
        "copy_claimed": (Signature(claimed, result), emit_copy_claimed),
        "fill": (Signature(command, result), emit_fill),
        "copy": (Signature(command, result), emit_copy),
        "update": (Signature(command, result), emit_update),
        "dispatch": (Signature(command, result), emit_dispatch),
        EXECUTE: (Signature(blocks, result), emit_execute),
    }
    if options.atomics and options.can_wait:
        mailbox = ("mailbox", pointer)
        slot = (mailbox, ("slot", pointer))
        functions |= {
            "step_out": (Signature(slot, ()), emit_step_out),
            "await_submission": (Signature(slot, result), emit_await),
            SERVE: (Signature((mailbox, blocks[1]), result), emit_serve),
            SUBMIT: (Signature((mailbox, *blocks), result), emit_submit),
        }
    return functions


def emit_executor(options: ExecutorOptions, first_function_index: int) -> ExecutorFunctions:
    """Emits the executor for a module whose next free function index is given."""
    functions = _functions(options)
    callees = {
        name: (first_function_index + position, signature)
        for position, (name, (signature, _)) in enumerate(functions.items())
    }
    bodies = []
    for signature, emit in functions.values():
        builder = FunctionBuilder(signature, options.pointer, callees, atomics=options.atomics)
        emit(builder, options)
        bodies.append(builder.finish())
    return ExecutorFunctions(
        names=tuple(
            name if name in EXPORTS else f"iree_wasm_executor.{name}" for name in functions
        ),
        signatures=tuple(signature for signature, _ in functions.values()),
        bodies=tuple(bodies),
    )
