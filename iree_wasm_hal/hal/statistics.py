"""What a device counts."""

from __future__ import annotations

import threading
from dataclasses import dataclass, fields

__all__ = ["Counters", "DeviceStatistics", "MemoryStatistics"]


@dataclass(frozen=True, slots=True)
class DeviceStatistics:
    """Counts since the device was created.

    Attributes:
        submissions: Command buffers executed.
        engine_calls: Calls into the engine for them: one per worker that takes part, and one per
            switch.
        executable_switches: Times that a command stream went on in another executable.
        dispatches: Dispatches in the command buffers that ran to their end.
        bytes_to_device: Copied from host memory or files into the linear memory.
        bytes_from_device: Copied out of the linear memory.
        host_transfers: Queue fills, updates, copies, reads and writes, which the host does without
            the engine.
    """

    submissions: int
    engine_calls: int
    executable_switches: int
    dispatches: int
    bytes_to_device: int
    bytes_from_device: int
    host_transfers: int


@dataclass(frozen=True, slots=True)
class MemoryStatistics:
    """A device's linear memory at one moment, in bytes and counts.

    Attributes:
        used: Bytes in live blocks: buffers, kernels' static data, workers' stacks, recorded
            commands.
        peak: Largest ``used`` so far.
        capacity: Bytes that can be allocated at the current size of the memory.
        limit: ``capacity`` when the memory has grown to its maximum.
        free_blocks: Gaps between live blocks.
        largest_free_block: Bytes of the largest gap. What is larger makes the memory grow.
        growths: Times that the memory grew.
        fresh_allocations: Allocations that no freed block of the same size served. A program that
            asks for the same sizes again adds none.
    """

    used: int
    peak: int
    capacity: int
    limit: int
    free_blocks: int
    largest_free_block: int
    growths: int
    fresh_allocations: int


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
