"""The mailbox: where the helpers of a device wait, inside wasm, for the next submission.

One per device, aligned to 64 bytes: a header, then one slot per helper, each in a cache line of
its own. `executor_mailbox` has the code that works with it; docs/command-stream.md explains it.
"""

from __future__ import annotations

from enum import IntEnum

from iree_wasm_hal.wasm.stream import Struct

__all__ = ["MAILBOX", "MAILBOX_SLOT", "MAILBOX_STRIDE", "SlotState", "mailbox_byte_length"]

MAILBOX = Struct(
    "mailbox",
    (
        *("I generation", "I sleeper_count", "I eviction", "I joiner_sleeps"),
        *("I worker_count", "I spin_limit", "I idle_slice_count", "Q submission_address"),
    ),
    40,
)
MAILBOX_SLOT = Struct("mailbox slot", ("I state", "I generation", "I eviction"), 16)
MAILBOX_STRIDE = 64
"""Bytes from the header to the slot of worker 1, and from one slot to the next."""


class SlotState(IntEnum):
    """Where a helper is."""

    OUT = 0
    INSIDE = 1
    """It takes part in the submission; the submitter waits for it."""


def mailbox_byte_length(worker_count: int) -> int:
    """Size of a mailbox: the header stands where the slot of worker 0 would be."""
    return worker_count * MAILBOX_STRIDE
