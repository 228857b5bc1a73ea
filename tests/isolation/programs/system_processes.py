"""What the system says of processes: the truth that tests compare with."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

__all__ = ["children_of", "open_descriptors", "resident_bytes", "stop", "wait_until_gone"]


def children_of(process_id: int) -> set[int]:
    """Processes that it started and that have not ended."""
    found = set()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            status = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if int(status[1]) == process_id and status[0] != "Z":
            found.add(int(folder.name))
    return found


def state_of(process_or_thread: Path) -> str:
    """The letter for its state; X where there is none."""
    try:
        status = (process_or_thread / "stat").read_text()
    except OSError:
        return "X"
    return status.rpartition(")")[2].split()[0]


def is_alive(process_id: int) -> bool:
    """Whether it runs; a zombie does not."""
    return state_of(Path(f"/proc/{process_id}")) not in "ZX"


def stop(process_id: int, timeout_s: float = 30) -> None:
    """Stops a process, and waits until each of its threads has noticed."""
    os.kill(process_id, signal.SIGSTOP)
    waiting = threading.Event()
    for _ in range(int(timeout_s / 0.01)):
        if all(state_of(thread) == "T" for thread in Path(f"/proc/{process_id}/task").iterdir()):
            return
        waiting.wait(0.01)
    raise AssertionError(f"process {process_id} did not stop")


def wait_until_gone(process_id: int, timeout_s: float = 30) -> None:
    """Waits until it does not run any more."""
    waiting = threading.Event()
    for _ in range(int(timeout_s / 0.01)):
        if not is_alive(process_id):
            return
        waiting.wait(0.01)
    raise AssertionError(f"process {process_id} still runs")


def open_descriptors() -> dict[str, str]:
    """This process's descriptors and what they refer to."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the one of the listing
            continue
    return found


def opened_since(before: dict[str, str]) -> dict[str, str]:
    """Those of this process's descriptors that ``before`` lacks.

    One that is gone since is no fault: the collector may just have closed another test's.
    """
    return dict(open_descriptors().items() - before.items())


def resident_bytes(process_id: int) -> int:
    """Memory that a process has in RAM."""
    lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024
