"""Goes through steps and says how each ended, one line of JSON each.

A process of its own, because a step may end it. Usage: signal_steps.py ARCHIVE STEP... for one, and
signal_steps.py for many: it then reads lines of JSON, each a list of such arguments, and goes
through each in a process that it forks, which has imported what it needs and opened nothing. The
answer is a line of JSON: standard output, standard error, exit status.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import iree_wasm_hal as iwh
from iree_wasm_hal.engine.signal_actions import Action, write_action
from iree_wasm_hal.engine.signal_guard import SIGNAL_GUARD

if TYPE_CHECKING:
    from collections.abc import Callable

_TIMEOUT_S = 120
_SIGNALS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)
_modules: dict[str, iwh.Module] = {}
_archive: list[str] = []
_called: list[int] = []
_others: list[object] = []


def _open(engine: str) -> str:
    try:
        _modules[engine] = iwh.load(_archive[0], engine=engine)
    except iwh.EngineError as error:
        return f"refused: {error}"
    return "done"


def _trap(engine: str) -> str:
    """Lets two kernels trap: an access out of bounds and a division by zero."""
    module, one = _modules[engine], np.ones(4, np.int32)
    table = np.arange(16, dtype=np.int32)
    kinds = []
    for name, arguments in (("gather", (table, one << 28)), ("divide", (one, one * 0))):
        try:
            module[name](*arguments)
        except iwh.TrapError as error:
            kinds.append(error.kind)
        except iwh.EngineError as error:
            return f"refused: {error}"
    assert (module.gather(table, one) == 1).all()
    return ", ".join(kinds)


def _set_handler(handler: Callable[..., None] | signal.Handlers) -> None:
    for number in _SIGNALS:
        signal.signal(number, handler)


def _set_foreign_handler(_: str) -> str:
    """A function of the C library that never returns and hands on to no one."""
    address = ctypes.cast(ctypes.CDLL(None).abort, ctypes.c_void_p).value or 0
    raw = address.to_bytes(8, sys.byteorder) + bytes(504)
    for number in _SIGNALS:
        write_action(number, Action(address, raw))
    return "done"


def _kill(_: str) -> str:
    before = len(_called)
    os.kill(os.getpid(), signal.SIGSEGV)
    return f"called {len(_called) - before}"


def _run_pytest(_: str) -> str:
    """Runs a test, which enables faulthandler for its duration and disables it afterwards."""
    import pytest

    with tempfile.TemporaryDirectory() as folder:
        test = Path(folder, "test_nothing.py")
        test.write_text("def test_nothing():\n    assert True\n")
        with contextlib.redirect_stdout(sys.stderr):
            status = pytest.main(["-q", "-p", "no:cacheprovider", "--rootdir", folder, str(test)])
    return "done" if status == 0 else f"pytest ended with {status!r}"


def _use_elsewhere(_: str) -> str:
    """Uses wasmtime through its own Python package."""
    import wasmtime

    _others.append(wasmtime.Store(wasmtime.Engine()))
    return "done"


def _ask(engine: str) -> str:
    """Whether the engine catches traps by signals at all."""
    return "signals" if engine in SIGNAL_GUARD._engine_names else "no signals"


def _crash(_: str) -> str:
    faulthandler._sigsegv()  # type: ignore[attr-defined]  # what CPython's own tests use
    return "survived"


_STEPS: dict[str, Callable[[str], object]] = {
    "open": _open,
    "trap": _trap,
    "ask": _ask,
    "wasmtime-py": _use_elsewhere,
    "pytest": _run_pytest,
    "enable": lambda _: faulthandler.enable(2),
    "disable": lambda _: faulthandler.disable(),
    "python": lambda _: _set_handler(lambda number, _frame: _called.append(number)),
    "default": lambda _: _set_handler(signal.SIG_DFL),
    "foreign": _set_foreign_handler,
    "kill": _kill,
    "crash": _crash,
}


def _go(archive: str, *steps: str) -> None:
    _archive.append(archive)
    for step in steps:
        name, _, argument = step.partition(":")
        outcome = _STEPS[name](argument)
        print(json.dumps(outcome if isinstance(outcome, str) else "done"), flush=True)


def _serve() -> list[str] | None:
    """Forks for each line; the arguments in a process that was forked, and None at the end."""
    assert callable(iwh.load), "which imports the runtime"
    for line in sys.stdin:
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            process_id = os.fork()
            if process_id == 0:
                signal.alarm(_TIMEOUT_S)
                nowhere = os.open(os.devnull, os.O_RDONLY)
                for source, target in ((nowhere, 0), (output.fileno(), 1), (errors.fileno(), 2)):
                    os.dup2(source, target)
                arguments: list[str] = json.loads(line)
                return arguments
            status = os.waitstatus_to_exitcode(os.waitpid(process_id, 0)[1])
            texts = [os.pread(one.fileno(), 1 << 20, 0).decode() for one in (output, errors)]
        print(json.dumps([*texts, status]), flush=True)
    return None


if __name__ == "__main__":
    given = sys.argv[1:] or _serve()
    if given is not None:
        _go(*given)
