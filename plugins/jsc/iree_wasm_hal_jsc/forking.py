"""Keeps forked children off JavaScriptCore, whose threads they do not have.

A child that called into it, or only freed one of its objects, would wait for a collector or
compiler thread for ever.
"""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING

from iree_wasm_hal.errors import EngineUnavailableError

if TYPE_CHECKING:
    from iree_wasm_hal_jsc.virtual_machine import VirtualMachine

REASON = (
    "engine 'jsc' was in use when this process was forked, and works in the parent only; start "
    "processes with multiprocessing's 'spawn' method"
)


class _Watch:
    """The machines of this process, and whether it was forked from one that had some."""

    def __init__(self) -> None:
        self.machines: weakref.WeakSet[VirtualMachine] = weakref.WeakSet()
        self.is_active = False
        self.is_child = False

    def after_fork(self) -> None:
        self.is_child = True
        for machine in self.machines:
            machine.abandon(REASON)


_watch = _Watch()


def check() -> None:
    """To be called before JavaScriptCore is used for the first time, and for each machine.

    Raises:
        EngineUnavailableError: This process was forked from one that used it.
    """
    if _watch.is_child:
        raise EngineUnavailableError(REASON)
    if not _watch.is_active:
        _watch.is_active = True
        os.register_at_fork(after_in_child=_watch.after_fork)


def watch(machine: VirtualMachine) -> None:
    """Makes a machine unusable in children of this process."""
    _watch.machines.add(machine)
