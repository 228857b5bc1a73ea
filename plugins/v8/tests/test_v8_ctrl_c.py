"""Ctrl-C at every point of a call where Python looks for signals."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from iree_wasm_hal.engine import MemoryType, open_engine
from iree_wasm_hal.engine.conformance.suite import load_module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from iree_wasm_hal.engine import Engine


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = open_engine("v8")
    yield engine
    engine.close()


def interrupted(use: Callable[[], object], countdown: int) -> bool:
    """Raises KeyboardInterrupt at a certain entry of a function or return of a native one."""

    def profile(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal countdown
        if event in {"call", "c_return"}:
            countdown -= 1
            if countdown == 0:
                sys.setprofile(None)
                raise KeyboardInterrupt

    sys.setprofile(profile)
    try:
        use()
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(None)
    return False


# One that comes in a destructor is printed, as Python does.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_next_call_finds_the_isolate_free(engine: Engine) -> None:
    memory = engine.create_memory(MemoryType(1, 64))
    instance = engine.instantiate(engine.compile(load_module("loops")), memory)
    spin = instance.function("spin")
    expected = spin(0, 10)
    uses: list[Callable[[], object]] = [lambda: spin(0, 10), lambda: memory.grow(1)]
    for use in uses:
        countdown = 1
        while interrupted(use, countdown):
            lock = instance.isolate._lock  # type: ignore[attr-defined]  # the plugin's own
            assert lock.acquire(timeout=0), (use, countdown)
            lock.release()
            assert spin(0, 10) == expected
            countdown += 1
        assert countdown > 5
