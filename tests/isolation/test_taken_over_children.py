"""A child that a program has taken over: it can lie and end its calls, and do no more here."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import iree_wasm_hal as iwh
from iree_wasm_hal.isolation import process
from iree_wasm_hal.isolation.start import StartRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    LoadTakenOver = Callable[[str], iwh.IsolatedModule]

CHILD = Path(__file__).parent / "programs" / "taken_over_child.py"
MOST_BYTES = 512 << 20


@pytest.fixture
def load_taken_over(archive: Path, monkeypatch: pytest.MonkeyPatch) -> LoadTakenOver:
    """Loads a module whose child does what is named; its successors are honest."""

    def load(attack: str) -> iwh.IsolatedModule:
        code = f"import sys; sys.argv.insert(2, {attack!r}); exec(open({str(CHILD)!r}).read())"
        with monkeypatch.context() as patch:
            patch.setattr(process, "_CHILD", code)
            return iwh.load(archive, isolation="process")

    return load


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        ("nested without end", "a message that cannot be read: maximum recursion"),
        ("a pickle", "a message that cannot be read"),
        ("a body without end", "a message of 9437184 bytes beside its tensors"),
        ("a segment that it never filled", "of 1099511627776 bytes in a segment of 0"),
        ("a message beyond its segment", "of 1099511627776 bytes in a segment of 0"),
        ("a tensor again and again", "larger than the message"),
        ("a tensor behind the message", "at 524288 of 4096 bytes"),
        ("dimensions", "results that cannot be read"),
        ("many dimensions", "results that cannot be read"),
        ("no list", "results that cannot be read: 5 is no list"),
        ("no results", "0 results of main, not 1"),
        ("no outcome", "sent 5 as an outcome"),
        ("no error", "an error that cannot be read"),
        ("progress", "message -2 instead of 1"),
    ],
)
def test_what_it_sends_is_an_error_of_ours(
    load_taken_over: LoadTakenOver, attack: str, words: str
) -> None:
    with load_taken_over(attack) as module:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(iwh.InternalError, match=words):
            module.main()
        taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert taken * 1024 < MOST_BYTES


def test_a_description_that_is_none(load_taken_over: LoadTakenOver) -> None:
    with pytest.raises(iwh.InternalError, match="a module that cannot be read"):
        load_taken_over("no function")


@pytest.mark.parametrize("attack", ["no answer", "other statistics"])
def test_answers_that_are_none(load_taken_over: LoadTakenOver, attack: str) -> None:
    with (
        load_taken_over(attack) as module,
        pytest.raises(iwh.InternalError, match="cannot be read"),
    ):
        _ = module.device.memory


def test_it_cannot_block_its_caller_by_reading_nothing(load_taken_over: LoadTakenOver) -> None:
    module = load_taken_over("answers before it is asked")

    def call_until_it_fails() -> None:
        while True:
            module.main(bytes(30_000), timeout=0.5)

    with pytest.raises(iwh.CallTimeoutError):
        call_until_it_fails()
    module.close()


def test_it_cannot_change_what_its_successor_unpickles(archive: Path) -> None:
    start = StartRequest(archive, {"engine": "wasmtime"})
    descriptor = start.descriptors[1]
    with pytest.raises(PermissionError):
        os.pwrite(descriptor, b"x", 0)
    with pytest.raises(PermissionError):
        os.ftruncate(descriptor, 1 << 20)
    start.close()
