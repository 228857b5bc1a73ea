"""Semaphores, fences and the order of queue operations that wait for them."""

from __future__ import annotations

import itertools
import linecache
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from iree_wasm_hal.errors import InvocationError, LimitError, TrapError
from iree_wasm_hal.hal.fence import Fence
from iree_wasm_hal.hal.semaphore import Semaphore
from iree_wasm_hal.status import StatusCode, error_from_status, status_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from iree_wasm_hal.hal.device import Device

U8 = np.dtype("uint8")
BROKEN = InvocationError("broken", status="DATA_LOSS")


def test_a_semaphore_only_moves_forward() -> None:
    semaphore = Semaphore(3)
    assert semaphore.query() == 3
    semaphore.signal(7)
    assert semaphore.query() == 7
    for value in (7, 6):
        with pytest.raises(InvocationError, match=f"at 7 cannot be signalled to {value}"):
            semaphore.signal(value)
    assert semaphore.wait(7)
    assert not semaphore.wait(8, timeout=0.01)


def test_a_wait_may_be_longer_than_the_system_can_count() -> None:
    semaphore = Semaphore()
    threading.Timer(0.01, semaphore.signal, [1]).start()
    assert semaphore.wait(1, timeout=1e300)


def test_the_first_failure_stays() -> None:
    semaphore = Semaphore()
    semaphore.fail(BROKEN)
    semaphore.fail(ValueError("later"))
    semaphore.signal(5)
    for use in (semaphore.query, lambda: semaphore.wait(1), lambda: semaphore.wait(0)):
        with pytest.raises(InvocationError) as caught:
            use()
        assert caught.value is BROKEN


def test_fence_life() -> None:
    fence = Fence()
    assert fence.query() == StatusCode.DEFERRED
    assert repr(fence) == "<hal.fence DEFERRED>"
    assert not fence.wait(0)
    fence.signal()
    assert fence.query() == StatusCode.OK
    assert fence.wait(0)
    with pytest.raises(InvocationError):
        fence.signal()
    failed = Fence()
    failed.fail(BROKEN)
    assert failed.query() == StatusCode.DATA_LOSS
    with pytest.raises(InvocationError, match="broken"):
        failed.wait(0)


def test_join_takes_the_latest_timepoint_of_each_semaphore() -> None:
    a, b = Semaphore(), Semaphore()
    joined = Fence.join([Fence([(a, 2), (b, 1)]), None, Fence([(a, 5)]), Fence([(a, 3)])])
    assert joined is not None
    assert sorted(value for _, value in joined.timepoints) == [1, 5]
    a.signal(5)
    assert not joined.is_reached
    b.signal(1)
    assert joined.is_reached
    assert Fence.join([None, None]) is None
    assert Fence.join([]) is None
    assert Fence([]).is_reached


def test_callbacks_of_joined_fences_come_once() -> None:
    calls: list[BaseException | None] = []
    a, b, c = Semaphore(), Semaphore(), Semaphore()
    Fence([(a, 1), (b, 1)]).on_reached(calls.append)
    Fence([(a, 1), (c, 1)]).on_reached(calls.append)
    a.signal(1)
    assert calls == []
    b.signal(2)
    assert calls == [None]
    c.fail(BROKEN)
    c.fail(BROKEN)
    assert calls == [None, BROKEN]
    Fence([]).on_reached(calls.append)
    Fence([(b, 2)]).on_reached(calls.append)
    assert calls == [None, BROKEN, None, None]


def in_time(use: Callable[[], object]) -> bool:
    """Whether something ends, which may wait for a lock of its own thread."""
    thread = threading.Thread(target=use, daemon=True)
    thread.start()
    thread.join(10)
    return not thread.is_alive()


class Interrupted(int):
    """A payload at whose comparison a signal handler runs, once."""

    def __new__(cls, value: int, handler: Callable[[], object]) -> Interrupted:
        self = super().__new__(cls, value)
        self.handlers = [handler]
        return self

    handlers: list[Callable[[], object]]

    def __le__(self, other: int) -> bool:
        while self.handlers:
            self.handlers.pop()()
        return int(self) <= other


def test_a_signal_handler_may_use_the_semaphore_that_it_interrupts() -> None:
    late: list[BaseException | None] = []
    uses: list[tuple[Callable[[Semaphore], object], list[BaseException | None]]] = [
        (lambda semaphore: semaphore.fail(BROKEN), [None, BROKEN, BROKEN]),
        (lambda semaphore: semaphore.signal(2), [None, None]),
        (lambda semaphore: semaphore.on_reached(3, late.append), [None]),
        (lambda semaphore: semaphore.wait(4, 0.01), [None]),
    ]
    for use, expected in uses:
        semaphore = Semaphore()
        calls: list[BaseException | None] = []
        semaphore.on_reached(Interrupted(1, partial(use, semaphore)), calls.append)
        semaphore.on_reached(2, calls.append)
        semaphore.on_reached(5, calls.append)
        assert in_time(partial(semaphore.signal, 1))
        assert calls == expected
        if semaphore.failure is None:
            semaphore.signal(5)
            assert calls == [None] * 3
    assert late == [None]


def test_a_signal_handler_may_fail_the_fence_that_it_interrupts() -> None:
    """It comes while the countdown of a joined fence is held."""
    calls: list[BaseException | None] = []
    a, b = Semaphore(), Semaphore()
    Fence([(a, 1), (b, 1)]).on_reached(calls.append)

    def interrupt(frame: FrameType, event: str, _argument: object) -> Any:
        if frame.f_code.co_name != "reached":
            return None
        if event == "line" and "_left" in linecache.getline(
            frame.f_code.co_filename, frame.f_lineno
        ):
            sys.settrace(None)
            frame.f_trace = None
            b.fail(BROKEN)
            return None
        return interrupt

    def signal() -> None:
        sys.settrace(interrupt)
        a.signal(1)

    assert in_time(signal)
    assert calls == [BROKEN]


def test_threads_block_until_a_fence_is_reached() -> None:
    a, b = Semaphore(), Semaphore()
    fence = Fence([(a, 1), (b, 1)])
    woken: list[float] = []
    threads = [
        threading.Thread(target=lambda: woken.append(time.monotonic()) if fence.wait(30) else None)
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    a.signal(1)
    assert not woken
    signalled = time.monotonic()
    b.signal(1)
    for thread in threads:
        thread.join(30)
    assert len(woken) == 4
    assert min(woken) >= signalled
    assert time.monotonic() - signalled < 10


def test_waiting_threads_see_a_failure() -> None:
    fence = Fence()
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            fence.wait()
        except InvocationError as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    fence.fail(BROKEN)
    thread.join(30)
    assert caught == [BROKEN]


def test_operations_wait_for_their_fence_and_keep_their_order(device: Device) -> None:
    start, last = Fence(), Fence()
    buffer = device.allocator.upload(np.zeros(8, U8))
    chain = [start, *(Fence() for _ in range(3)), last]
    data = bytearray(b"ab")
    device.queue_update(chain[0], chain[1], data, buffer, 0)
    device.queue_copy(chain[1], chain[2], buffer, 0, buffer, 2, 2)
    device.queue_fill(chain[2], chain[3], buffer, 4, 4, 0x63, 1)
    device.queue_dealloca(chain[3], chain[4], buffer)
    # All four of these run in the order of submission when the one fence is signalled.
    device.queue_fill(start, None, buffer, 7, 1, 1, 1)
    device.queue_fill(start, None, buffer, 7, 1, 2, 1)
    data[:] = b"zz"  # captured at submission
    assert buffer.read() == bytes(8)
    assert device.statistics.host_transfers == 0
    seen: list[bytes] = []
    chain[3].on_reached(lambda _failure: seen.append(buffer.read()))
    start.signal()
    assert last.is_reached
    assert seen == [b"ababcccc"]
    assert device.statistics.host_transfers == 5


def test_a_long_chain_does_not_recurse(device: Device) -> None:
    fences = [Fence() for _ in range(5000)]
    for wait, signal in itertools.pairwise(fences):
        device.queue_barrier(wait, signal)
    fences[0].signal()
    assert fences[-1].is_reached


def test_failures_travel_along_the_fences(device: Device) -> None:
    start, middle, last = Fence(), Fence(), Fence()
    buffer = device.allocator.upload(np.zeros(8, U8))
    device.queue_fill(start, middle, buffer, 6, 4, 0, 1)  # out of range, found when it runs
    device.queue_fill(middle, last, buffer, 0, 4, 9, 1)
    start.signal()
    assert isinstance(last.failure, InvocationError)
    assert last.failure is middle.failure
    assert buffer.read() == bytes(8)
    after = Fence()
    device.queue_barrier(last, after)
    assert after.query() == StatusCode.OUT_OF_RANGE
    with pytest.raises(InvocationError, match="outside a buffer of 8 bytes"):
        device.queue_barrier(last, None)


def test_inline_failures_are_raised_and_signalled(device: Device) -> None:
    buffer = device.allocator.upload(np.zeros(8, U8))
    fence = Fence()
    with pytest.raises(InvocationError) as caught:
        device.queue_copy(None, fence, buffer, 0, buffer, 4, 8)
    assert fence.failure is caught.value


def test_another_thread_runs_what_it_unblocks(device: Device) -> None:
    start, end = Fence(), Fence()
    buffer = device.allocator.upload(np.zeros(4, U8))
    device.queue_fill(start, end, buffer, 0, 4, 3, 1)
    thread = threading.Thread(target=start.signal)
    thread.start()
    assert end.wait(30)
    thread.join(30)
    assert buffer.read() == b"\3\3\3\3"


def test_status_codes() -> None:
    assert status_of(None) == 0
    assert status_of(InvocationError("x", status="NOT_FOUND")) == StatusCode.NOT_FOUND
    assert status_of(InvocationError("x", status="nonsense")) == StatusCode.UNKNOWN
    limit = LimitError("x", name="linear memory", asked=1, allowed=0)
    assert status_of(limit) == StatusCode.RESOURCE_EXHAUSTED
    assert status_of(TrapError("x")) == StatusCode.ABORTED
    assert status_of(KeyError()) == StatusCode.UNKNOWN
    assert error_from_status(5, "x").status == "NOT_FOUND"
    assert error_from_status(0x1234_0000 | 13, "x").status == "INTERNAL"
    assert error_from_status(0, "x").status == "INTERNAL"  # a failure that says OK
    assert error_from_status(31, "x").status == "CODE(31)"
    assert status_of(error_from_status(31, "x")) == StatusCode.UNKNOWN


def test_a_failing_callback_does_not_strand_the_others() -> None:
    semaphore = Semaphore()
    fence = Fence([(semaphore, 1)])
    seen: list[object] = []

    def fail(_: object) -> None:
        raise ZeroDivisionError

    fence.on_reached(fail)
    fence.on_reached(seen.append)
    with pytest.raises(ZeroDivisionError):
        semaphore.signal(1)
    assert seen == [None]
