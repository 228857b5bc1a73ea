"""Keeps the signal handlers by which engines catch traps in place.

An engine that leaves bounds checks and divisions to the CPU catches the signals (SIGSEGV, SIGBUS,
SIGFPE, SIGILL) that come of them, and hands on what is not its own to the handler that was there
before. Whoever takes its place without handing on makes the next trap the end of the process.
Python's own ``faulthandler`` does: it reports every signal as fatal. Beneath the engines it is
welcome, and ``docs/rationale.md`` says why it is enabled there.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iree_wasm_hal.engine.signal_actions import (
    IS_SUPPORTED,
    Action,
    Handler,
    Handlers,
    describe_handler,
    is_of_python,
    library_of,
    mapped_files,
    on_alternate_stack,
    read_action,
    write_action,
)
from iree_wasm_hal.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SIGNAL_GUARD", "Opening", "SignalGuard"]

_SIGNAL_NUMBERS = (
    tuple(
        int(getattr(signal, name)) for name in ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP")
    )
    if IS_SUPPORTED
    else ()
)
_NO_FUNCTION = frozenset({int(signal.SIG_DFL), int(signal.SIG_IGN)})
_STANDARD_ERROR = 2


@dataclass(frozen=True, slots=True)
class _Kept:
    """An engine's action on a signal, which belongs on top."""

    action: Action
    engine_name: str


@dataclass(slots=True)
class Opening:
    """What the guard is told of the engine that opens."""

    library_path: str = ""
    """File of the engine's native library; ``""`` where there is none."""


class SignalGuard:
    """The process's handlers, as the engines that were opened left them. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._kept: dict[int, _Kept] = {}
        self._engine_handlers: set[Handler] = set()
        self._engine_libraries: set[str] = set()
        self._engine_names: set[str] = set()
        self._opened_names: set[str] = set()
        # Engines above whose handlers a foreign one came for good, and the error that says so.
        self._lost: dict[str, str] = {}
        # What was there before the first engine.
        self._beneath: dict[int, Handler] = {}
        self._has_faulthandler_beneath = False
        self._watched: Handlers | None = None
        self._expected: Handler | None = None

    @contextlib.contextmanager
    def opening(self, engine_name: str) -> Iterator[Opening]:
        """Notes the handlers that the body, which opens an engine, installs.

        The body sets ``library_path`` of what it is given.

        Raises:
            EngineError: The engine is open already, and a foreign handler took the place of its.
            OSError: The system refuses to tell or to change a signal's action.
        """
        opening = Opening()
        if not IS_SUPPORTED:
            yield opening
            return
        with self._lock:
            self._prepare()
            if engine_name in self._lost:  # it installs handlers once, and may trap as it opens
                raise EngineError(self._lost[engine_name])
            before = _read_handlers()
            mapped_before = mapped_files()
            try:
                yield opening
            finally:
                library = opening.library_path and os.path.realpath(opening.library_path)
                for number in _SIGNAL_NUMBERS:
                    action = read_action(number)
                    if _is_of_a_library(action.handler) and (
                        action.handler != before[number]
                        # Somebody else in this process uses the same engine.
                        or _is_of(action.handler, library)
                    ):
                        self._keep(number, action, engine_name)
                is_first = engine_name not in self._opened_names
                if library and library in mapped_before and is_first:
                    self._look_beneath_faulthandler(engine_name, library)
                self._opened_names.add(engine_name)
                self._watch()

    def is_disturbed(self) -> bool:
        """Whether ``check`` may have something to do: one fast look at one signal.

        ``faulthandler`` takes and gives back all signals at once, so one tells of all.
        """
        return self._watched is not None and self._watched.current() != self._expected

    def check(self, engine_name: str) -> None:
        """Sees to it that an engine catches its traps, and puts handlers back where it may.

        Raises:
            EngineError: A foreign handler took the place of an engine's; says whose it is.
            OSError: As ``opening``.
        """
        with self._lock:
            foreign = self._restore()
            if engine_name in self._lost:
                raise EngineError(self._lost[engine_name])
            if foreign is not None and engine_name in self._engine_names:
                raise EngineError(_foreign_handler_message(engine_name, *foreign))

    def _prepare(self) -> None:
        """Sees to what will be beneath the engine that opens."""
        foreign = self._restore()
        if foreign is not None:  # it stays above the engines that are open
            for name in self._engine_names:
                self._lost.setdefault(name, _foreign_handler_message(name, *foreign))
        if self._kept:
            return
        # Beneath the first engine, faulthandler can be enabled once more at any time without a
        # change of handlers. Who handles these signals already is not to see them reported first.
        if _NO_FUNCTION.issuperset(_read_handlers().values()):
            faulthandler.enable(_STANDARD_ERROR)
        self._has_faulthandler_beneath = faulthandler.is_enabled()
        self._beneath = _read_handlers()

    def _look_beneath_faulthandler(self, engine_name: str, library: str) -> None:
        """Finds an engine's handlers where faulthandler came above them before we were asked."""
        on_top = {number: read_action(number) for number in _SIGNAL_NUMBERS}
        if not any(_is_faulthandlers(number, action.handler) for number, action in on_top.items()):
            return
        faulthandler.disable()
        beneath = {number: read_action(number) for number in _SIGNAL_NUMBERS}
        faulthandler.enable(_STANDARD_ERROR)
        for number, action in beneath.items():
            is_covered = _is_faulthandlers(number, on_top[number].handler)
            if is_covered and _is_of(action.handler, library):
                self._keep(number, action, engine_name)
                on_top[number] = action
        for number, action in on_top.items():  # disabling took those of others as well
            write_action(number, action)

    def _keep(self, number: int, action: Action, engine_name: str) -> None:
        # JavaScriptCore's handler runs on the stack that faulted. Above Wasmer's, which tells an
        # exhausted stack by its guard page, it would find no room there.
        switching = on_alternate_stack(action)
        if switching is not action:
            write_action(number, switching)
        self._kept[number] = _Kept(switching, engine_name)
        self._engine_names.add(engine_name)
        self._engine_handlers.add(action.handler)
        library = library_of(action.handler)
        if library:
            self._engine_libraries.add(library)

    def _restore(self) -> tuple[int, Handler] | None:
        """Puts the engines' handlers back on top.

        Returns:
            A signal and a foreign handler that stands in the way, in which case nothing changed.
        """
        is_moved = False
        python_functions: dict[int, Action] = {}
        for number, kept in [*self._kept.items()]:
            action = read_action(number)
            if action.handler == kept.action.handler:
                continue
            if library_of(action.handler) in self._engine_libraries:
                if action.handler not in self._engine_handlers:
                    # An engine that installs more than it did at first.
                    self._keep(number, action, kept.engine_name)
            elif _is_python_function(number, action.handler) and self._has_faulthandler_beneath:
                python_functions[number] = action
            elif not self._is_replaceable(number, action.handler):
                return number, action.handler
            is_moved = True
        if is_moved:
            self._put_back(python_functions)
        return None

    def _is_replaceable(self, number: int, handler: Handler) -> bool:
        """Whether nothing is lost if an engine's handler goes above this one."""
        return (
            handler in _NO_FUNCTION
            or handler == self._beneath.get(number)
            or _is_faulthandlers(number, handler)
        )

    def _put_back(self, python_functions: dict[int, Action]) -> None:
        if self._has_faulthandler_beneath:
            # Engines hand on to faulthandler's function. Disabled, that returns, and a real crash
            # would fault again for ever. What it hands on to itself is what it finds here.
            others = {number: read_action(number) for number in _SIGNAL_NUMBERS}
            if python_functions:
                faulthandler.disable()
                for number, action in python_functions.items():
                    write_action(number, action)
            if not faulthandler.is_enabled():
                faulthandler.enable(_STANDARD_ERROR)
            for number, action in others.items():  # it took the place of these as well
                if _is_of_a_library(action.handler):
                    write_action(number, action)
        for number, kept in self._kept.items():
            write_action(number, kept.action)
        self._watch()

    def _watch(self) -> None:
        number = next((number for number in _SIGNAL_NUMBERS if number in self._kept), None)
        if number is None:
            return
        if self._watched is None or self._watched.signal_number != number:
            self._watched = Handlers(number)
        # With an engine lost, every submission looks at whose it is.
        self._expected = None if self._lost else self._kept[number].action.handler


def _read_handlers() -> dict[int, Handler]:
    return {number: read_action(number).handler for number in _SIGNAL_NUMBERS}


def _is_of_a_library(handler: Handler) -> bool:
    return handler not in _NO_FUNCTION and not is_of_python(handler)


def _is_of(handler: Handler, library: str) -> bool:
    """Whether a handler is a function of a library, by its real path; of ``""`` none is."""
    origin = library_of(handler)
    return bool(origin and library) and os.path.realpath(origin) == library


def _is_faulthandlers(number: int, handler: Handler) -> bool:
    return is_of_python(handler) and not _is_python_function(number, handler)


def _is_python_function(number: int, handler: Handler) -> bool:
    """Whether a handler is the one that ``signal.signal`` sets; else it is ``faulthandler``'s."""
    if not is_of_python(handler) or not callable(signal.getsignal(number)):
        return False
    # Of the signals that faulthandler takes, no engine and hardly anybody else takes SIGABRT.
    is_faulthandlers = (
        faulthandler.is_enabled()
        and not callable(signal.getsignal(signal.SIGABRT))
        and read_action(signal.SIGABRT).handler == handler
    )
    return not is_faulthandlers


def _foreign_handler_message(engine_name: str, number: int, handler: Handler) -> str:
    name = signal.Signals(number).name
    return (
        f"engine {engine_name!r} cannot catch traps any more: {name} is now handled by "
        f"{describe_handler(number, handler)}, and a trap would end the process. Let it handle "
        f"{name} before the engine is opened, or not at all"
    )


SIGNAL_GUARD = SignalGuard()
"""The one guard: signal handlers belong to the process."""
