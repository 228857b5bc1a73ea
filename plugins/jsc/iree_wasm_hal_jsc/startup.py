"""JavaScriptCore's options, which it reads from the environment when it initialises itself.

They are set around that moment only, so that neither child processes nor the user's own code see
them. What the user has set stays. If JavaScriptCore was initialised before, by another user of the
library in this process, nothing changes: the engine then has the features that the first user
left it.
"""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iree_wasm_hal_jsc.c_api import ffi

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OPTIONS: Mapping[str, str] = {
    # Off by default, and complete enough to be used.
    "JSC_useWasmRelaxedSIMD": "1",
    # The default of 8 reservations is a browser's; a memory without one would move when it grows.
    "JSC_maxNumWasmFastMemories": "10000",
}

_RESERVED_REAL_TIME_SIGNALS = 4


@contextmanager
def options_in_environment() -> Iterator[None]:
    """Sets the options that the environment does not have, for the time of a ``with`` block."""
    added = [name for name in OPTIONS if name not in os.environ]
    for name in added:
        os.environ[name] = OPTIONS[name]
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def read_options(lib: Any) -> None:
    """Makes JavaScriptCore read its options now, unless it has."""
    lib.jsc_options_get_boolean(b"useWasm", ffi.new("int *"))


def suspension_signal(configure: Any) -> int:
    """Lets the collector suspend threads by a real-time signal instead of SIGUSR1.

    SIGUSR1 is what users, ``faulthandler.register`` and other engines take; whoever comes last
    would break the other. It remains if JavaScriptCore is initialised already.

    Args:
        configure: ``JSConfigureSignalForGC``; None where the library has none.

    Returns:
        The signal.
    """
    if configure is not None:
        handled = _handled_signals()
        candidates = range(signal.SIGRTMAX - _RESERVED_REAL_TIME_SIGNALS, signal.SIGRTMIN, -1)
        for number in candidates:
            if not handled >> (number - 1) & 1 and configure(number):
                return number
    return signal.SIGUSR1


def _handled_signals() -> int:
    """A bit for each signal that is caught or ignored, from bit 0 for signal 1.

    Python's ``signal.getsignal`` does not see what native libraries have set.
    Source: proc_pid_status(5).
    """
    handled = 0
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in {"SigCgt", "SigIgn"}:
            handled |= int(value, 16)
    return handled
