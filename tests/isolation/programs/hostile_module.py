"""A module in Python that does what a child process may do at its worst."""

from __future__ import annotations

import os
import pickle
import socket
import struct
from pathlib import Path

import iree_wasm_hal as iwh

__all__ = ["make"]


def make() -> iwh.PyModule:
    """Serves ``hostile.act``."""
    module = iwh.PyModule("hostile")
    module.function("act", "0i_i")(_act)
    return module


class _Command:
    """What makes a process that unpickles it run a command."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch /tmp/iree-wasm-unpickled",)


def _act(what: int) -> int:
    if what == 1:
        raise KeyError("the key")
    if what == 2:
        os._exit(3)
    if what == 3:
        _forge_reply()
    if what == 4:
        raise ConnectionResetError("of the module's own")
    return 7


def _forge_reply() -> None:
    """Answers in the place of the code around it, on the socket of calls."""
    body = pickle.dumps((False, _Command()))
    for name in os.listdir("/proc/self/fd"):
        path = Path("/proc/self/fd") / name
        if path.is_symlink() and str(path.readlink()).startswith("socket:"):
            with socket.socket(fileno=os.dup(int(name))) as connection:
                for number in range(1, 9):
                    connection.send(struct.pack("<qQQ", number, 0, 0) + body)
