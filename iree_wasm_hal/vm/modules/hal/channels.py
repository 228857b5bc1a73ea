"""``hal.channel.*`` and ``command_buffer.collective``: communication between devices.

One linear memory on one machine has no one to talk to. The imports are known, so that a program
that needs them fails when it is loaded, with this reason, and not as if they were unknown.
"""

from __future__ import annotations

__all__ = ["COLLECTIVES", "Channel"]

COLLECTIVES = {
    ("channel.create", "0rIIrrii_r"),
    ("channel.split", "0riiI_r"),
    ("channel.rank_and_count", "0r_ii"),
    ("command_buffer.collective", "0rriiiirrIIIII_v"),
}
"""Refused imports: name and calling convention."""


class Channel:
    """The type ``hal.channel``; there are no objects of it."""
