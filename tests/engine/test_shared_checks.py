"""What plugins take from the core instead of writing it once more each."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from iree_wasm_hal.engine import (
    PAGE_SIZE,
    MemoryType,
    StackCheck,
    check_byte_length,
    check_growth,
    check_memory_limits,
    growth_error,
    missing_functions,
)
from iree_wasm_hal.engine.conformance.background import run_in_thread
from iree_wasm_hal.engine.native_stack import thread_stack_byte_length
from iree_wasm_hal.errors import EngineError, LimitError


class _Library:
    """As cffi's: a function that the file lacks is met when it is looked up."""

    def __init__(self) -> None:
        self.here_first = self.here_second = self.other = None

    def __dir__(self) -> list[str]:
        return ["other", "here_second", "here_gone", "here_first", "also_gone"]


def test_missing_functions_are_listed() -> None:
    library = _Library()
    ffi = SimpleNamespace(error=AttributeError)
    assert missing_functions(ffi, library) == ["also_gone", "here_gone"]
    assert missing_functions(ffi, library, "here_") == ["here_gone"]
    assert missing_functions(ffi, library, ("other", "also_")) == ["also_gone"]


@pytest.mark.parametrize("value", [1023, 4097, "2048", True, 2048.0, None])
def test_byte_lengths_outside_of_the_limits(value: object) -> None:
    message = f"engine 'alpha': option 'stack' is {value!r}; expected bytes as an int from 1024 to"
    with pytest.raises(EngineError, match=re.escape(message)):
        check_byte_length("alpha", "stack", value, (1024, 4096))


@pytest.mark.parametrize("value", [1024, 4096])
def test_byte_lengths_at_the_limits(value: int) -> None:
    assert check_byte_length("alpha", "stack", value, (1024, 4096)) == value


@pytest.mark.parametrize("limits", [(-1, 1), (2, 1), (0, 11)])
def test_memory_limits_in_disorder(limits: tuple[int, int]) -> None:
    with pytest.raises(EngineError, match="expected 0 <= min <= max <= 10 pages"):
        check_memory_limits(MemoryType(*limits), 10)
    check_memory_limits(MemoryType(0, 10), 10)


def test_growth_has_numbers_in_its_errors() -> None:
    check_growth(MemoryType(1, 4), 3, 1)
    with pytest.raises(EngineError, match="by -1 pages; expected 0 or more"):
        check_growth(MemoryType(1, 4), 3, -1)
    with pytest.raises(LimitError, match="declared maximum") as caught:
        check_growth(MemoryType(1, 4), 3, 2)
    assert (caught.value.asked, caught.value.allowed) == (5 * PAGE_SIZE, 4 * PAGE_SIZE)
    error = growth_error(3, 1, 3, "no pages left")
    assert str(error).endswith("allowed are 196608 (3 pages): no pages left")
    assert str(error).startswith(
        "linear memory of 3 pages cannot grow by 1: asked for 262144 bytes"
    )


@pytest.mark.skipif(thread_stack_byte_length() is None, reason="this platform does not tell")
def test_small_stacks_are_refused_once_per_thread() -> None:
    check = StackCheck(1024**2)
    # glibc hands out the stacks of ended threads again, up to four times as large.
    with pytest.raises(EngineError, match=r"stack of \d+ bytes; running wasm needs 2097152"):
        run_in_thread(check.check, stack_byte_length=256 * 1024).result()

    def passes() -> tuple[bool, bool]:
        before = check.passed
        check.check()
        return before, check.passed

    assert run_in_thread(passes, stack_byte_length=4 * 1024**2).result() == (False, True)
    assert run_in_thread(passes, stack_byte_length=4 * 1024**2).result() == (False, True)
