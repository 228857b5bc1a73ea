"""Results of a model with one thread, held against those with more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import iree_wasm_hal as iwh

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from suite_models import SuiteModel

    from iree_wasm_hal.engine import Engine

__all__ = ["THREAD_COUNTS", "DifferentBitsError", "compare"]

THREAD_COUNTS = (1, 2, 4, 8)


class DifferentBitsError(AssertionError):
    """Two runs of one model gave different bits."""


def compare(
    model: SuiteModel, engine: Engine, *, repeat: int = 1, counts: Sequence[int] = THREAD_COUNTS
) -> Iterator[tuple[int, int]]:
    """Runs a model with each number of threads, and compares every bit with the first run.

    Yields:
        The number of threads and how many dispatches they did, when that number is done.

    Raises:
        DifferentBitsError: A result differs.
    """
    expected: list[bytes] | None = None
    for count in counts:
        with iwh.load(model.archive, engine=engine, threads=count) as module:
            for number in range(repeat):
                got = [one.tobytes() for one in _arrays(module["main"](*model.arguments))]
                if expected is None:
                    expected = got
                elif got != expected:
                    raise DifferentBitsError(
                        f"{engine.info.name}, {count} threads, run {number}: "
                        f"{_differing(got, expected)} bytes differ"
                    )
            yield count, module.statistics.dispatches


def _arrays(results: Any) -> list[np.ndarray[Any, Any]]:
    return [np.asarray(one) for one in (results if isinstance(results, tuple) else (results,))]


def _differing(got: Sequence[bytes], expected: Sequence[bytes]) -> int:
    return sum(
        int(np.count_nonzero(np.frombuffer(a, np.uint8) != np.frombuffer(b, np.uint8)))
        for a, b in zip(got, expected, strict=True)
    )
