"""``hal.fence.*``: points on timelines that a program waits for and signals."""

from __future__ import annotations

import math
import time

from iree_wasm_hal.hal.call import THIS_THREAD
from iree_wasm_hal.hal.fence import Fence
from iree_wasm_hal.status import StatusCode, error_from_status
from iree_wasm_hal.vm.modules.hal.table import FunctionTable, expect

__all__ = ["TABLE", "fence_await", "wait_for"]

TABLE = FunctionTable()

_LOOK_INTERVAL_S = 0.02
"""Between two looks at whether the call was cancelled."""


@TABLE.serve("fence.create", "0rI_r")
def fence_create(device: object, flags: int) -> Fence:
    """An unsignalled fence."""
    return Fence()


@TABLE.serve("fence.join", "0ICrD_r")
def fence_join(flags: int, fences: tuple[object, ...]) -> Fence | None:
    """A fence that is reached when all are; null if none of them needs waiting."""
    return Fence.join(_fences(fences, "fence.join"))


@TABLE.serve("fence.query", "0r_i")
def fence_query(fence: object) -> int:
    """The status code: OK, DEFERRED, or that of the failure."""
    return expect(fence, Fence, "fence.query").query()


@TABLE.serve("fence.signal", "0r_v")
def fence_signal(fence: object) -> None:
    """Reaches the fence."""
    expect(fence, Fence, "fence.signal").signal()


@TABLE.serve("fence.fail", "0ri_v")
def fence_fail(fence: object, status: int) -> None:
    """Fails the fence with a status code."""
    expect(fence, Fence, "fence.fail").fail(
        error_from_status(status, f"the program failed a fence with status {status}")
    )


@TABLE.serve("fence.await", "0iICrD_i")
def fence_await(timeout_millis: int, flags: int, fences: tuple[object, ...]) -> int:
    """Blocks until all fences are reached; OK or DEADLINE_EXCEEDED.

    Raises:
        Error: A fence failed: the error it failed with.
        InterruptedCallError: The thread's call ended meanwhile.
    """
    limit = math.inf if timeout_millis == -1 else (timeout_millis & 0xFFFFFFFF) / 1000
    deadline = 0.0
    for fence in _fences(fences, "fence.await"):
        if fence is None or fence.is_reached or fence.wait(0):
            continue
        # The clock starts with the first fence that is not reached; mostly there is none.
        deadline = deadline or time.monotonic() + limit
        if not wait_for(fence, deadline):
            return StatusCode.DEADLINE_EXCEEDED
    return StatusCode.OK


def wait_for(fence: Fence, deadline: float = math.inf) -> bool:
    """Waits for a fence as long as this thread's call may.

    Args:
        fence: What to wait for.
        deadline: On the clock of ``time.monotonic``.

    Returns:
        False if the deadline passed first.

    Raises:
        Error: The fence failed: the error it failed with.
        InterruptedCallError: The thread's call ended meanwhile.
    """
    call = THIS_THREAD.call
    latest = math.inf if call is None else call.due
    while True:
        now = time.monotonic()
        if fence.wait(max(0.0, min(_LOOK_INTERVAL_S, deadline - now, latest - now))):
            return True
        if call is not None:
            call.check()
        if time.monotonic() >= deadline:
            return False


def _fences(fences: tuple[object, ...], where: str) -> list[Fence | None]:
    return [None if fence is None else expect(fence, Fence, where) for fence in fences]
