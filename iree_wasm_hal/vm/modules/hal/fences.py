"""``hal.fence.*``: points on timelines that a program waits for and signals."""

from __future__ import annotations

import time

from iree_wasm_hal.hal.fence import Fence
from iree_wasm_hal.hal.status import StatusCode, error_from_status
from iree_wasm_hal.vm.modules.hal.table import FunctionTable, expect

__all__ = ["TABLE"]

TABLE = FunctionTable()


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
    """
    if timeout_millis == -1:
        for fence in fences:
            if fence is not None:
                expect(fence, Fence, "fence.await").wait()
        return StatusCode.OK
    deadline = time.monotonic() + (timeout_millis & 0xFFFFFFFF) / 1000
    for known in _fences(fences, "fence.await"):
        left = max(0.0, deadline - time.monotonic())
        if known is not None and not known.wait(left):
            return StatusCode.DEADLINE_EXCEEDED
    return StatusCode.OK


def _fences(fences: tuple[object, ...], where: str) -> list[Fence | None]:
    return [None if fence is None else expect(fence, Fence, where) for fence in fences]
