"""The memory grows while kernels run on other threads; nothing they compute changes."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import numpy as np

import iree_wasm_hal as iwh
from iree_wasm_hal.engine import Feature, open_engine
from iree_wasm_hal.hal.device import Device

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

A = np.arange(4 * 512, dtype=np.float32).reshape(4, 512) % 7
B = np.arange(512 * 16, dtype=np.float32).reshape(512, 16) % 5
EXPECTED = A @ B + np.float32(1.5)
GROWTHS = 12


def test_growth_while_computing(engine_name: str, matmul_archives: dict[str, Path]) -> None:
    with contextlib.closing(open_engine(engine_name)) as engine:
        threads = 2 if Feature.THREADS in engine.info.features else 1
        device = Device(engine, threads=threads)
        modules = [iwh.load(matmul_archives["wasm32"], device=device) for _ in range(2)]
        first = modules[0].main(A, B)
        wrong = _while_growing(device, [module.main for module in modules])
        assert wrong == []
        assert device.memory.growths >= GROWTHS
        np.testing.assert_array_equal(first, EXPECTED)  # a view from before all growths
        first[:] = 3
        assert (first == 3).all()
        for module in modules:
            module.close()
        device.close()
        np.testing.assert_array_equal(first, np.full((4, 16), 3))


def _while_growing(
    device: Device, functions: list[Callable[..., NDArray[np.float32]]]
) -> list[object]:
    """Calls the functions on a thread each while this one makes the memory grow."""
    done = threading.Event()
    wrong: list[object] = []

    def compute(function: Callable[..., NDArray[np.float32]]) -> None:
        try:
            while not done.is_set():
                result = function(A, B)
                if not np.array_equal(result, EXPECTED):
                    wrong.append(result.copy())
        except iwh.Error as error:
            wrong.append(error)

    workers = [threading.Thread(target=compute, args=(function,)) for function in functions]
    for worker in workers:
        worker.start()
    held: list[NDArray[np.generic]] = []
    try:
        while device.memory.growths < GROWTHS and not wrong:
            # More than the largest gap, and less than growing by half would give.
            buffer = device.allocator.allocate_buffer(device.memory.largest_free_block + 65536)
            view = buffer.ndarray((buffer.byte_length,), np.dtype(np.uint8))
            view[[0, -1]] = len(held)
            held.append(view)
    finally:
        done.set()
        for worker in workers:
            worker.join()
    wrong += [number for number, view in enumerate(held) if (view[[0, -1]] != number % 256).any()]
    return wrong
