"""Processes at their end, and at the end of their files: an engine never takes them down."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import gc, importlib, sys
from iree_wasm_hal.engine import MemoryType, open_engine
from iree_wasm_hal.engine.conformance.suite import load_module

engine = open_engine(sys.argv[1])
memory = engine.create_memory(MemoryType(1, 2))
program = engine.compile(load_module("memory"))
instance = engine.instantiate(program, memory)
view = memory.view()
package = type(engine).__module__.partition(".")[0]
library = importlib.import_module(f"{package}.library")
for name in ("load_library", "_load"):  # as the interpreter's end forgets it
    getattr(getattr(library, name, None), "cache_clear", lambda: None)()
instance.itself = instance
del engine, memory, program, instance
gc.collect()
view[5] = 7
print(view[5])
del view
gc.collect()
"""


def test_objects_may_be_freed_after_the_library_was_forgotten(engine_name: str) -> None:
    command = [sys.executable, "-X", "faulthandler", "-c", _PROGRAM, engine_name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("7\n", "", 0)


_WITHOUT_FILES = """
import os, resource, sys
from iree_wasm_hal.engine import open_engine
from iree_wasm_hal.errors import EngineUnavailableError

resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
opened = []
try:
    while True:
        opened.append(os.dup(0))
except OSError:
    for descriptor in opened[-4:]:  # what Python's own imports take
        os.close(descriptor)
try:
    print(open_engine(sys.argv[1]).info.name)
except EngineUnavailableError as error:
    print("refused", error)
"""


def test_opens_or_refuses_where_no_file_can_be_opened(engine_name: str) -> None:
    command = [sys.executable, "-c", _WITHOUT_FILES, engine_name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.startswith((engine_name, f"refused engine {engine_name!r}"))
