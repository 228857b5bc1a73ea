"""What a device counts."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Counters", "DeviceStatistics"]


@dataclass(frozen=True, slots=True)
class DeviceStatistics:
    """Counts since the device was created."""

    submissions: int
    """Queue operations that ran: fills, updates, copies, reads, writes, executions."""
    engine_calls: int
    """Calls into the engine for them; one per submission unless it switches executables."""
    executable_switches: int
    """Further engine calls because a submission uses more than one executable."""
    dispatches: int
    """Dispatches in the command buffers that ran to their end."""
    bytes_to_device: int
    """Copied from host memory or files into the linear memory."""
    bytes_from_device: int
    """Copied out of the linear memory."""
    host_copies_between_dispatches: int
    """Copies by the host between two dispatches of one submission; the design makes it 0."""


class Counters:
    """The running counts behind ``DeviceStatistics``."""

    __slots__ = (
        "bytes_from_device",
        "bytes_to_device",
        "dispatches",
        "engine_calls",
        "executable_switches",
        "host_copies_between_dispatches",
        "submissions",
    )

    def __init__(self) -> None:
        self.submissions = 0
        self.engine_calls = 0
        self.executable_switches = 0
        self.dispatches = 0
        self.bytes_to_device = 0
        self.bytes_from_device = 0
        self.host_copies_between_dispatches = 0

    def snapshot(self) -> DeviceStatistics:
        """The counts now."""
        return DeviceStatistics(**{name: getattr(self, name) for name in self.__slots__})
