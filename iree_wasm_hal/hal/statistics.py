"""What a device counts."""

from __future__ import annotations

import threading
from dataclasses import dataclass, fields

__all__ = ["Counters", "DeviceStatistics", "MemoryStatistics"]


@dataclass(frozen=True, slots=True)
class DeviceStatistics:
    """Counts since the device was created."""

    submissions: int
    """Command buffers executed."""
    engine_calls: int
    """Calls into the engine for them: one per worker that takes part, and one per switch."""
    executable_switches: int
    """Times that a command stream went on in another executable."""
    dispatches: int
    """Dispatches in the command buffers that ran to their end."""
    bytes_to_device: int
    """Copied from host memory or files into the linear memory."""
    bytes_from_device: int
    """Copied out of the linear memory."""
    host_transfers: int
    """Queue fills, updates, copies, reads and writes, which the host does without the engine."""


@dataclass(frozen=True, slots=True)
class MemoryStatistics:
    """A device's linear memory at one moment, in bytes and counts."""

    used: int
    """Bytes in live blocks: buffers, kernels' static data, workers' stacks, recorded commands."""
    peak: int
    """Largest ``used`` so far."""
    capacity: int
    """Bytes that can be allocated at the current size of the memory."""
    limit: int
    """``capacity`` when the memory has grown to its maximum."""
    free_blocks: int
    """Gaps between live blocks."""
    largest_free_block: int
    """Bytes of the largest gap. What is larger makes the memory grow."""
    growths: int
    """Times that the memory grew."""
    fresh_allocations: int
    """Allocations that no freed block of the same size served. A program that asks for the same
    sizes again adds none."""


class Counters:
    """The running counts behind ``DeviceStatistics``.

    Attributes:
        lock: Held to change the byte counts, which several threads do at once; the others change
            under the device's lock only. Re-entrant: a signal handler may come in between, but
            never between the reading and the writing of a count.
    """

    __slots__ = (
        "bytes_from_device",
        "bytes_to_device",
        "dispatches",
        "engine_calls",
        "executable_switches",
        "host_transfers",
        "lock",
        "submissions",
    )

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.submissions = 0
        self.engine_calls = 0
        self.executable_switches = 0
        self.dispatches = 0
        self.bytes_to_device = 0
        self.bytes_from_device = 0
        self.host_transfers = 0

    def snapshot(self) -> DeviceStatistics:
        """The counts now."""
        names = (field.name for field in fields(DeviceStatistics))
        return DeviceStatistics(**{name: getattr(self, name) for name in names})
