"""The threads that help the one that submits: parked in wasm, or asleep on the host.

A helper that was used a moment ago waits inside its instance (`wasm.executor_mailbox`), where a
submission reaches it without Python. After `_IDLE_SLICE_COUNT` sleeps without work it comes back
and waits on a condition, where it costs nothing and holds no instance.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
import weakref
from typing import TYPE_CHECKING

from iree_wasm_hal.errors import ClosedError, EngineError, InterruptedCallError
from iree_wasm_hal.hal.placement import Placement
from iree_wasm_hal.hal.threads import spin_limit, start_threads
from iree_wasm_hal.hal.worker import overwritten_error
from iree_wasm_hal.wasm.stream import SUBMISSION_BLOCK, Result
from iree_wasm_hal.wasm.stream_mailbox import (
    MAILBOX,
    MAILBOX_SLOT,
    MAILBOX_STRIDE,
    SlotState,
    mailbox_byte_length,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iree_wasm_hal.hal.executable import Entry
    from iree_wasm_hal.hal.guest_memory import GuestMemory
    from iree_wasm_hal.hal.suballocator import Suballocator
    from iree_wasm_hal.hal.submission import Submission
    from iree_wasm_hal.hal.worker import Worker

__all__ = ["Helpers"]

_NATIVE_STACK_BYTE_LENGTH = 8 << 20
"""Stack of a helper's thread: engines need 2 MiB or more, and some platforms give 128 KiB."""
_IDLE_SLICE_COUNT = 10
"""Sleeps of 20 ms before a helper leaves its instance."""
_LEAVE_S = 0.02
"""Between two attempts to make helpers leave."""

_U32 = struct.Struct("<I")
_SETTINGS = struct.Struct("<5I")
"""The mailbox from ``eviction`` to ``idle_slice_count``."""
_STOP_OFFSET = SUBMISSION_BLOCK.offset("stop")


class Helpers:
    """Runs the workers but the first, each in a thread of its own.

    ``begin`` and ``end`` stand around a submission that is worth sharing; the submitter reaches
    those who are parked by itself. Host state alone says who may be touching an instance: the
    mailbox lies in guest memory, where kernels can write.

    Args:
        memory: Shared.
        suballocator: Of that memory.
        workers: By index; the first is the submitter's.

    Attributes:
        mailbox_ptr: Guest address of the mailbox.
    """

    __slots__ = (
        "__weakref__",
        "_block",
        "_error",
        "_eviction",
        "_is_stopping",
        "_job",
        "_lock",
        "_memory",
        "_outside_count",
        "_patience",
        "_placement",
        "_process_id",
        "_submitter",
        "_threads",
        "_wake",
        "_workers",
        "mailbox_ptr",
    )

    def __init__(
        self, memory: GuestMemory, suballocator: Suballocator, workers: Sequence[Worker]
    ) -> None:
        self._memory = memory
        self._submitter, *self._workers = workers
        self._block = suballocator.allocate(mailbox_byte_length(len(workers)))
        self.mailbox_ptr = self._block.guest_ptr
        # Re-entrant: stop() may come from a finalizer, in any thread. Taken itself and not through
        # the condition, whose methods are Python's: Ctrl-C could end them half way.
        self._lock = threading.RLock()
        self._wake = threading.Condition(self._lock)
        self._outside_count = len(self._workers)
        self._job: Submission | None = None
        self._error: BaseException | None = None
        self._eviction = 0
        self._patience = (spin_limit(len(workers)), _IDLE_SLICE_COUNT)
        self._is_stopping = False
        self._process_id = os.getpid()
        self._write_mailbox(0)
        self._threads = [
            threading.Thread(
                target=self._run, args=(worker,), name=f"iree-wasm-{worker.index}", daemon=True
            )
            for worker in self._workers
        ]
        try:
            start_threads(self._threads, stack_byte_length=_NATIVE_STACK_BYTE_LENGTH)
        except BaseException:  # Ctrl-C as well; raised again
            self.stop()  # those that were started
            raise
        self._placement = Placement(self._threads)
        _HELPERS.add(self)

    @property
    def are_here(self) -> bool:
        """Whether there are threads: a forked child has none but the one that forked.

        What the helpers' instances, the engine's list of sleepers and the lock are like there is
        anybody's guess, so the child goes on with one worker.
        """
        return os.getpid() == self._process_id

    def step_aside(self) -> None:
        """Makes parked helpers leave wasm, so that a forked child finds no lock held by them."""
        if not self.are_here:
            return
        with self._lock:
            while self._job is None and self._outside_count < len(self._workers):
                self._request_eviction()
                self._wake.wait(_LEAVE_S)

    def begin(self, submission: Submission) -> None:
        """Lets those who are not parked come; call ``end`` when the submission is over.

        A kernel of an earlier one may have written over the mailbox: what does not change while
        helpers look at it is written anew.
        """
        start = self.mailbox_ptr + MAILBOX.offset("eviction")
        settings = _SETTINGS.pack(self._eviction, 0, len(self._workers) + 1, *self._patience)
        self._memory.view[start : start + _SETTINGS.size] = settings
        self._placement.follow()
        self._error = None
        self._job = submission
        if self._outside_count:
            with self._lock:
                self._wake.notify_all()

    def end(self) -> BaseException | None:
        """The first error that a helper met, if any."""
        self._job = None
        error, self._error = self._error, None
        return error

    def evict(self) -> None:
        """Makes all helpers leave their instances, whatever they do, and waits until they have.

        For a submission that failed. What cannot be interrupted is waited for.
        """
        if not self.are_here:
            return
        with self._lock:
            self._job = None  # Ctrl-C may have come before ``end``
            while self._outside_count < len(self._workers):
                self._drive_out()  # again and again: one may have been on its way in
                self._wake.wait(_LEAVE_S)
            # The submitter may not have closed the mailbox, and a sleeper not have signed off.
            offset = MAILBOX.offset("generation")
            generation: int = _U32.unpack_from(self._memory.view, self.mailbox_ptr + offset)[0]
            self._write_mailbox((generation + 1 & -2) % (1 << 32))

    def stop(self) -> None:
        """Lets the threads end. Idempotent."""
        if not self.are_here:
            return
        with self._lock:
            self._is_stopping = True
            self._wake.notify_all()
        with contextlib.suppress(ClosedError):
            self._request_eviction()

    def close(self) -> None:
        """Ends the threads and waits for them. Idempotent."""
        self.stop()
        _HELPERS.discard(self)
        for thread in self._threads:
            thread.join(_LEAVE_S)
            while thread.is_alive():
                # It had just looked away, or a kernel wrote over what it looks at.
                self._drive_out()
                thread.join(_LEAVE_S)

    def _run(self, worker: Worker) -> None:
        """What a helper's thread does."""
        while self._await_job():
            try:
                self._serve(worker)
            except BaseException as error:
                self._note(worker, error)
            finally:
                worker.running = None
                with self._lock:
                    self._outside_count += 1
                    self._wake.notify_all()

    def _await_job(self) -> bool:
        with self._lock:
            # Whoever came back from a submission that failed would park, asleep, and be waited for.
            while (self._job is None or self._error is not None) and not self._is_stopping:
                self._wake.wait()
            if self._is_stopping:
                return False
            self._outside_count -= 1
        return True

    def _serve(self, worker: Worker) -> None:
        offset = MAILBOX_SLOT.offset("eviction")
        _U32.pack_into(self._memory.view, self._slot_ptr(worker) + offset, self._eviction)
        # Of the executable only the entry is kept: it may be unloaded while a helper parks in it.
        target = self._first_entry(worker)
        while target is not None:
            entry, executable_index = target
            worker.write_header(executable_index, keep_place=self._is_inside(worker))
            worker.running = entry.instance
            result = entry.serve(self.mailbox_ptr, worker.block_ptr)
            target = self._required_entry(worker) if result == Result.SWITCH else None

    def _first_entry(self, worker: Worker) -> tuple[Entry, int] | None:
        job = self._job
        executable = None if job is None else job.first_executable
        return None if executable is None else (executable.entries[worker.index], executable.index)

    def _required_entry(self, worker: Worker) -> tuple[Entry, int]:
        job = self._job
        index = worker.required_executable()
        executable = None if job is None else job.executables.get(index)
        if executable is None:
            raise overwritten_error(f"it asks for executable {index}, which it does not use")
        return executable.entries[worker.index], index

    def _note(self, worker: Worker, error: BaseException) -> None:
        """Notes a helper's error and stops the others."""
        with self._lock:
            job = self._job
            interrupted_idle = isinstance(error, InterruptedCallError) and not self._is_inside(
                worker
            )
            if job is not None and not interrupted_idle:
                self._error = self._error or error
                stop_ptr = job.submission_ptr + _STOP_OFFSET
                _U32.pack_into(self._memory.view, stop_ptr, 1)
                self._interrupt(self._submitter)  # its kernel may have no end
        # Last: the submitter goes on when it sees this.
        _U32.pack_into(self._memory.view, self._slot_ptr(worker), SlotState.OUT)

    def _drive_out(self) -> None:
        self._request_eviction()
        for worker in self._workers:
            self._interrupt(worker)

    def _interrupt(self, worker: Worker) -> None:
        instance = worker.running
        if instance is not None:
            with contextlib.suppress(EngineError):  # it cannot: then it is waited for
                instance.interrupt()

    def _request_eviction(self) -> None:
        self._eviction = (self._eviction + 1) % (1 << 32)
        start = self.mailbox_ptr + MAILBOX.offset("eviction")
        self._memory.view[start : start + 4] = _U32.pack(self._eviction)

    def _is_inside(self, worker: Worker) -> bool:
        state: int = _U32.unpack_from(self._memory.view, self._slot_ptr(worker))[0]
        return state != SlotState.OUT

    def _slot_ptr(self, worker: Worker) -> int:
        return self.mailbox_ptr + worker.index * MAILBOX_STRIDE

    def _write_mailbox(self, generation: int) -> None:
        """Writes the whole mailbox but what ``begin`` writes; all helpers are outside."""
        header = MAILBOX.pack(generation=generation, eviction=self._eviction)
        slot = MAILBOX_SLOT.pack(generation=generation, eviction=self._eviction)
        lines = [header, *[slot] * len(self._workers)]
        data = b"".join(line.ljust(MAILBOX_STRIDE, b"\0") for line in lines)
        self._memory.view[self.mailbox_ptr : self.mailbox_ptr + len(data)] = data


_HELPERS: weakref.WeakSet[Helpers] = weakref.WeakSet()


def _before_fork() -> None:
    for helpers in [*_HELPERS]:
        helpers.step_aside()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork)
