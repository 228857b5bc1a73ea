"""Loads a program with a cache of compiled code, in a process that something happens to.

Usage: load_with_cache.py ENGINE ARCHIVE FOLDER [FAULT NUMBER]. Prints what happened as JSON. The
archive is ``spin.mlir``'s. Faults:

- full: no file gets longer than so many bytes; the writer is told.
- cut: the process dies at the write that would make a file longer than so many bytes.
- kill: SIGKILL before each of the cache's first so many file operations, each in a process and a
  folder of its own; then two loads that nothing happens to must work as if nothing had happened.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import resource
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import iree_wasm_hal as iwh

if TYPE_CHECKING:
    from collections.abc import Callable

_OPERATIONS = ("open", "fsync", "rename", "link", "unlink", "utime", "close")
_warnings: list[str] = []


class _Warnings(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _warnings.append(record.getMessage())


def _load(engine_name: str, archive: str, folder: Path) -> int:
    """Loads, calls and checks; returns how many modules the engine compiled."""
    engine = iwh.open_engine(engine_name)
    compiled: list[int] = []
    compile_ = engine.compile

    def count(wasm: bytes) -> Any:
        compiled.append(len(wasm))
        return compile_(wasm)

    engine.compile = count  # type: ignore[method-assign]
    values = np.arange(1000, dtype=np.int32)
    with iwh.load(archive, engine=engine, cache=iwh.CodeCache(folder)) as module:
        mixed = module["spin"](values, np.ones(1000, np.int64))
    np.testing.assert_array_equal(mixed, (values * np.int32(1664525)) ^ 1013904223)
    engine.close()
    return len(compiled)


def _limit_files(byte_length: int, *, told: bool) -> None:
    if not told:  # Python ignores the signal, and so would be told
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (byte_length, resource.RLIM_INFINITY))


def _kill_before(number: int) -> None:
    """Ends this process, as nothing can prevent, before one of the cache's file operations."""
    done = 0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal done
            if sys._getframe(1).f_globals["__name__"].startswith("iree_wasm_hal.cache."):
                done += 1
                if done == number:
                    os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **named)

        return call

    for name in _OPERATIONS:
        function = getattr(os, name)
        setattr(os, name, wrapped := counted(function))
        if function in os.supports_dir_fd:
            os.supports_dir_fd.add(wrapped)


def _forked(work: Callable[[], object]) -> int:
    """Exit status of a process that does some work; this one has imported all that it needs."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _kill_each(engine_name: str, archive: str, folder: Path, most: int) -> int:
    """In how many places a process was killed, and the next ones did not mind."""

    def be_killed(number: int) -> None:
        _kill_before(number)
        _load(engine_name, archive, folder / str(number))

    def recover(number: int) -> None:
        _load(engine_name, archive, folder / str(number))
        if _load(engine_name, archive, folder / str(number)) or _warnings:
            raise AssertionError(f"after a kill at {number} the cache does not work: {_warnings}")

    for number in range(1, most + 1):
        status = _forked(functools.partial(be_killed, number))
        if status == 0:
            return number - 1
        if status != -signal.SIGKILL or _forked(functools.partial(recover, number)):
            raise AssertionError(f"kill at {number}: status {status}")
    return most


def main() -> int:
    engine_name, archive, folder, *fault = sys.argv[1:]
    logging.getLogger("iree_wasm_hal.cache").addHandler(_Warnings())
    kind, number = (fault[0], int(fault[1])) if fault else ("none", 0)
    if kind == "kill":
        killed = _kill_each(engine_name, archive, Path(folder), number)
        print(json.dumps({"killed": killed}))
        return 0
    if kind != "none":
        _limit_files(number, told=kind == "full")
    compiled = _load(engine_name, archive, Path(folder))
    print(json.dumps({"compiled": compiled, "warnings": _warnings}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
