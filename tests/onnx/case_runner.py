"""Runs node tests on one backend, several at a time, and remembers the results.

A result is remembered under a hash of the test, of the packages' versions and of the sources that
made it, so that only what may have changed runs again.
"""

from __future__ import annotations

import functools
import hashlib
import json
import queue
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from node_cases import CaseResult, case_hash, load_cases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["CaseServers", "run_cases"]

ROOT = Path(__file__).parents[2]
CACHE = ROOT / "build" / "onnx-node-tests"


def run_cases(
    names: Iterable[str],
    backend: str,
    servers: CaseServers,
    progress: Callable[[CaseResult], None],
) -> dict[str, CaseResult]:
    """Runs tests, each in a process of its own; takes known results as known.

    Args:
        names: Names of node tests.
        backend: ``"wasm"`` or ``"native"``.
        servers: Run as many at a time as there are servers.
        progress: Told of each result that was not known before.
    """
    folder = CACHE / backend
    folder.mkdir(parents=True, exist_ok=True)
    cases = load_cases()
    paths = {name: folder / f"{_key(case_hash(cases[name]), backend)}.json" for name in names}
    results = {
        name: CaseResult(**json.loads(path.read_text()))
        for name, path in paths.items()
        if path.exists()
    }
    todo = [name for name in paths if name not in results]
    for result in servers.run(todo, backend):
        results[result.name] = result
        paths[result.name].write_text(json.dumps(asdict(result)))
        progress(result)
    return results


class CaseServers:
    """``case_server.py`` processes, each with one test at a time; started when there is one."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._stack = ExitStack()
        self._idle: queue.Queue[subprocess.Popen[str]] = queue.Queue()
        self._is_started = False

    def __enter__(self) -> CaseServers:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()  # the end of its input ends a server

    def run(self, names: list[str], backend: str) -> Iterable[CaseResult]:
        """The results, in order; ``backend`` as for ``run_cases``."""
        if names:
            self._start()
            with ThreadPoolExecutor(self._count) as pool:
                yield from pool.map(lambda name: self._run_one(name, backend), names)

    def _start(self) -> None:
        if not self._is_started:
            self._is_started = True
            command = [sys.executable, str(Path(__file__).with_name("case_server.py"))]
            for _ in range(self._count):
                pipe = subprocess.PIPE
                server = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
                self._idle.put(self._stack.enter_context(server))

    def _run_one(self, name: str, backend: str) -> CaseResult:
        server = self._idle.get()
        try:
            assert server.stdin is not None
            assert server.stdout is not None
            server.stdin.write(f"{backend} {name}\n")
            server.stdin.flush()
            answer = server.stdout.readline()
        finally:
            self._idle.put(server)
        assert answer, f"the server for {name} ended with status {server.poll()}"
        return CaseResult(**json.loads(answer))


def _key(case: str, backend: str) -> str:
    return hashlib.sha256(f"{case}{_backend_identity(backend)}".encode()).hexdigest()[:32]


@functools.lru_cache(maxsize=2)
def _backend_identity(backend: str) -> str:
    """Versions of the packages and hash of the sources that a result depends on."""
    packages = ["iree-base-compiler", "onnx", "numpy"]
    own = Path(__file__).parent
    sources = [own / "node_cases.py", own / "loaded_model.py", own / f"{backend}_backend.py"]
    if backend == "wasm":
        packages.append("wasmtime")
        for folder in ("iree_wasm_hal", "plugins/wasmtime"):
            sources += sorted((ROOT / folder).rglob("*.py"))
    else:
        packages.append("iree-base-runtime")
    digest = hashlib.sha256()
    for package in packages:
        digest.update(f"{package} {metadata.version(package)}\n".encode())
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()
