"""What the numbers of messages mean, and what goes over the second socket.

The first socket carries one call at a time: a request with a number of 1 or more, and the reply
with the same number. The second is listened to at any time: it ends calls and answers what does not
concern a call.
"""

from __future__ import annotations

__all__ = ["CANCEL", "LOADED", "MEMORY", "OPENED", "PROGRESS", "STATISTICS"]

LOADED = 0
"""The child has the module, or why it has not."""
OPENED = -1
"""The child has the engine: its document."""
PROGRESS = -2
"""How far a compilation is."""

CANCEL = "cancel"
"""With the number of a call. No answer."""
STATISTICS = "statistics"
"""Answered with the fields of ``DeviceStatistics``."""
MEMORY = "memory"
"""Answered with the fields of ``MemoryStatistics``."""
