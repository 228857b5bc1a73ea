"""What a thread of the hammer does at random. Each action checks all that it gets."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from hammer_programs import WrongResultError, check, endless_arguments, programs

import iree_wasm_hal as iwh

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from hammer_arena import Arena, Loaded
    from hammer_programs import Case

__all__ = ["ACTIONS", "Hand", "choose"]

_NUMBERS, _SPIN = 0, 1
_LARGEST_LOG2 = (
    18  # elements of a large argument: memories grow, and resident memory tells of leaks
)
_KEPT = 2


@dataclass
class Hand:
    """One thread's share of the hammer."""

    choice: random.Random
    seen: Counter[str] = field(default_factory=Counter)
    """How often each action came to which end."""
    kept: deque[tuple[Any, Any]] = field(default_factory=deque)
    """Results that it holds on to, as a user may, and what they must be."""

    def keep(self, got: Any, expected: Any) -> None:
        """Holds a result; one that was held is looked at again and dropped."""
        self.kept.append((got, expected))
        if len(self.kept) > _KEPT:
            self.drop()

    def drop(self) -> None:
        """Looks at the oldest result again."""
        got, expected = self.kept.popleft()
        np.testing.assert_array_equal(got, expected)


def _judge(case: Case, got: object, hand: Hand, what: str) -> None:
    """Checks what a call of a case gave, unless it was rightly ended."""
    if isinstance(got, iwh.Error):
        hand.seen[f"{what}: {type(got).__name__}"] += 1
        return
    check(case, got)
    hand.seen[f"{what}: right"] += 1


def _run(loaded: Loaded, case: Case, hand: Hand, what: str, timeout: float | None = None) -> None:
    _judge(case, loaded.call(case.function, *case.arguments, timeout=timeout), hand, what)


def _shared(arena: Arena, hand: Hand) -> tuple[Loaded, Case]:
    loaded = hand.choice.choice(arena.slots)
    return loaded, hand.choice.choice(arena.cases(loaded.program))


def call(arena: Arena, hand: Hand) -> None:
    loaded, case = _shared(arena, hand)
    _run(loaded, case, hand, "call")


def call_in_time_or_not(arena: Arena, hand: Hand) -> None:
    loaded, case = _shared(arena, hand)
    _run(loaded, case, hand, "short time-out", timeout=hand.choice.uniform(1e-5, 0.01))


def call_without_end(arena: Arena, hand: Hand) -> None:
    """Some workgroups end, others never do: whoever is done waits at the barrier."""
    loaded = arena.slots[_SPIN]
    first = hand.choice.randrange(8000)
    arguments = endless_arguments(8192, slice(first, first + hand.choice.choice((1, 9000))))
    got = loaded.call("spin", *arguments, timeout=hand.choice.uniform(1e-4, 0.03))
    if not isinstance(got, iwh.Error):
        raise WrongResultError(f"a call without end ended: {got}")
    hand.seen[f"endless call: {type(got).__name__}"] += 1


def cancel(arena: Arena, hand: Hand) -> None:
    hand.choice.choice(arena.slots).cancel()
    hand.seen["cancel"] += 1


def call_from_asyncio(arena: Arena, hand: Hand) -> None:
    """Two calls at once, each of its own module."""
    chosen = [_shared(arena, hand) for _ in range(2)]

    async def both() -> list[Any]:
        calls = [one.call_async(case.function, *case.arguments) for one, case in chosen]
        return await asyncio.gather(*calls)

    for (_, case), got in zip(chosen, asyncio.run(both()), strict=True):
        _judge(case, got, hand, "asyncio")


def trap(arena: Arena, hand: Hand) -> None:
    loaded = arena.slots[_NUMBERS]
    divisor = np.ones(5000, np.int32)
    divisor[hand.choice.randrange(5000)] = 0
    try:
        got = loaded.call("divide", np.ones(5000, np.int32), divisor)
    except iwh.TrapError as error:
        if error.kind != "integer divide by zero":
            raise
        hand.seen["trap"] += 1
        return
    if not isinstance(got, iwh.Error):
        raise WrongResultError(f"division by zero gave {got}")
    hand.seen[f"trap: {type(got).__name__}"] += 1


def grow(arena: Arena, hand: Hand) -> None:
    """A result that is large, and kept while others make the memory grow."""
    length = hand.choice.randrange(1 << hand.choice.randint(10, _LARGEST_LOG2))
    start = hand.choice.randrange(2**30)
    values = np.arange(start, start + length, dtype=np.int32)
    got = arena.slots[_NUMBERS].call("widen", values)
    if isinstance(got, iwh.Error):
        hand.seen[f"large: {type(got).__name__}"] += 1
        return
    expected = np.arange(start, start + length, dtype=np.int64)
    np.testing.assert_array_equal(got, expected)
    hand.keep(got, expected)
    hand.seen["large: right"] += 1


def own_device(arena: Arena, hand: Hand) -> None:
    """Load, call, close; results live on."""
    program = hand.choice.choice(programs())
    loaded = arena.load_alone(program, threads=hand.choice.randint(1, arena.threads))
    case = hand.choice.choice(arena.cases(program))
    for _ in range(hand.choice.randint(1, 20)):
        _run(loaded, case, hand, "own device")
    got = loaded.call(case.function, *case.arguments)
    loaded.close()
    check(case, got)


def failed_grow(arena: Arena, hand: Hand) -> None:
    """A device whose memory is full says so, and works on."""
    loaded = arena.load_alone(programs()[_NUMBERS], max_memory_bytes=8 << 20)
    try:
        loaded.module["widen"](np.zeros(3_000_000, np.int32))
    except iwh.LimitError:
        hand.seen["full memory"] += 1
    else:
        raise WrongResultError("36 MB of results fitted into 8 MiB")
    _run(loaded, hand.choice.choice(arena.cases(loaded.program)), hand, "after full memory")
    loaded.close()


def reload(arena: Arena, hand: Hand) -> None:
    arena.reload(hand.choice)
    hand.seen["reload"] += 1


def renew(arena: Arena, hand: Hand) -> None:
    arena.renew()
    hand.seen["new device"] += 1


def collect(_arena: Arena, hand: Hand) -> None:
    while hand.kept:
        hand.drop()
    gc.collect()
    hand.seen["collect"] += 1


ACTIONS: dict[Callable[[Arena, Hand], None], float] = {
    call: 100,
    grow: 20,
    trap: 10,
    call_from_asyncio: 4,
    own_device: 3,
    reload: 3,
    failed_grow: 1,
    collect: 1,
    renew: 0.3,
}
"""Each action with its weight."""

ENDING: dict[Callable[[Arena, Hand], None], float] = {
    call_in_time_or_not: 20,
    call_without_end: 5,
    cancel: 10,
}
"""Actions for engines that can end a running kernel."""


def choose(arena: Arena, hand: Hand) -> Callable[[Arena, Hand], None]:
    """The next action on an arena."""
    weights = ACTIONS | ENDING if arena.can_interrupt else ACTIONS
    (chosen,) = hand.choice.choices([*weights], [*weights.values()])
    return chosen
