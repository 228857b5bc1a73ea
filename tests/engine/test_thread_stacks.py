"""The stack size of new threads: each caller's own, and afterwards the user's."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from iree_wasm_hal.engine import thread_stacks
from iree_wasm_hal.engine.native_stack import thread_stack_byte_length

MIB = 1 << 20


def stack_of_a_new_thread(byte_length: int) -> int | None:
    measured: list[int | None] = []
    thread = threading.Thread(target=lambda: measured.append(thread_stack_byte_length()))
    with thread_stacks(byte_length):
        thread.start()
    thread.join()
    return measured[0]


def test_threads_that_start_others_at_once_leave_the_setting_as_it_was() -> None:
    before = threading.stack_size(3 * MIB)
    sizes = [(1 + index % 8) * MIB for index in range(400)]
    try:
        with ThreadPoolExecutor(8) as pool:
            measured = list(pool.map(stack_of_a_new_thread, sizes))
        assert threading.stack_size() == 3 * MIB
    finally:
        threading.stack_size(before)
    # None where the platform does not tell. A stack that another thread left may be larger.
    for found, asked in zip(measured, sizes, strict=True):
        assert found is None or found >= asked


def test_another_thread_waits_until_the_setting_is_put_back() -> None:
    before = threading.stack_size()
    first_is_inside, second_is_inside = threading.Event(), threading.Event()

    def second() -> None:
        first_is_inside.wait()
        with thread_stacks(2 * MIB):
            second_is_inside.set()

    thread = threading.Thread(target=second)
    thread.start()
    with thread_stacks(MIB):
        first_is_inside.set()
        assert not second_is_inside.wait(0.05)
        with thread_stacks(4 * MIB):  # a signal handler on this thread
            assert threading.stack_size() == 4 * MIB
        assert threading.stack_size() == MIB
    thread.join()
    assert second_is_inside.is_set()
    assert threading.stack_size() == before


def test_a_size_that_no_stack_has_changes_nothing() -> None:
    before = threading.stack_size()
    with pytest.raises(ValueError, match="size not valid"), thread_stacks(1):
        pass
    assert threading.stack_size() == before
    assert stack_of_a_new_thread(MIB) != 0  # and the lock was given back


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked on POSIX systems")
def test_a_forked_child_can_start_threads_whatever_others_do_at_the_time() -> None:
    is_over = threading.Event()

    def start_many() -> None:
        while not is_over.is_set():
            stack_of_a_new_thread(MIB)

    thread = threading.Thread(target=start_many)
    thread.start()
    try:
        for _ in range(20):
            child = os.fork()
            if child == 0:
                os._exit(0 if stack_of_a_new_thread(2 * MIB) else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        is_over.set()
        thread.join()
