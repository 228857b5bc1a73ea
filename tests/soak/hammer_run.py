"""The hammer: many Python threads do at random what users do, and everything is checked."""

from __future__ import annotations

import faulthandler
import os
import random
import sys
import threading
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hammer_actions import Hand, choose
from hammer_arena import Arena
from resident_memory import ResidentMemory

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Outcome", "run"]

_SAMPLE_S = 0.1
_STALL_S = 60.0
"""Without one action of a thread in this time it is taken to hang."""


@dataclass(frozen=True)
class Outcome:
    """What a run came to."""

    failures: list[str]
    seen: Counter[str]
    memory: ResidentMemory


class _Striker(threading.Thread):
    """One thread of the hammer."""

    def __init__(self, number: int, seed: int, arenas: Sequence[Arena], stop: threading.Event):
        super().__init__(name=f"hammer-{number}", daemon=True)
        self.hand = Hand(random.Random(f"{seed}/{number}"))
        self.done = 0
        self.failure: str | None = None
        self._arenas = arenas
        self._stop_all = stop

    def run(self) -> None:
        action = None
        try:
            while not self._stop_all.is_set():
                arena = self.hand.choice.choice(self._arenas)
                action = choose(arena, self.hand)
                action(arena, self.hand)
                self.done += 1
            while self.hand.kept:
                self.hand.drop()
        except BaseException:  # whatever it is, it is the finding
            engine = arena.engine.info.name
            where = f"{self.name}, action {self.done}: {action and action.__name__} on {engine}"
            self.failure = f"{where}\n{traceback.format_exc()}"
            self._stop_all.set()


class _Watch:
    """Ends the process, with every thread's stack, when a thread does nothing for a minute."""

    def __init__(self, strikers: Sequence[_Striker]) -> None:
        self._strikers = strikers
        self._progress = [(0, time.monotonic()) for _ in strikers]
        self._armed = 0.0

    def look(self) -> None:
        now = time.monotonic()
        for number, striker in enumerate(self._strikers):
            if striker.done != self._progress[number][0]:
                self._progress[number] = (striker.done, now)
        if now - min(since for _, since in self._progress) > _STALL_S:
            faulthandler.dump_traceback(all_threads=True)
            print(f"a thread hangs: {self._progress} at {now}", file=sys.stderr, flush=True)
            os._exit(3)
        if now - self._armed > _STALL_S / 10:  # for the case that this thread hangs itself
            faulthandler.dump_traceback_later(2 * _STALL_S, exit=True)
            self._armed = now


def run(
    engine_names: Sequence[str],
    *,
    seconds: float,
    seed: int,
    callers: int = 8,
    workers: int = 2,
    window_s: float = 10.0,
) -> Outcome:
    """Runs the hammer; a thread that hangs ends the process with every thread's stack."""
    faulthandler.dump_traceback_later(10 * _STALL_S, exit=True)  # loading compiles
    arenas = [Arena(name, workers) for name in engine_names]
    stop = threading.Event()
    strikers = [_Striker(number, seed, arenas, stop) for number in range(callers)]
    memory, watch = ResidentMemory(window_s), _Watch(strikers)
    for striker in strikers:
        striker.start()
    end = time.monotonic() + seconds
    while not stop.wait(_SAMPLE_S) and time.monotonic() < end:
        memory.sample()
        watch.look()
    stop.set()
    while any(striker.is_alive() for striker in strikers):
        strikers[0].join(_SAMPLE_S)
        watch.look()
    for arena in arenas:
        arena.close()
    faulthandler.cancel_dump_traceback_later()
    seen: Counter[str] = sum((striker.hand.seen for striker in strikers), Counter())
    return Outcome([one.failure for one in strikers if one.failure], seen, memory)
