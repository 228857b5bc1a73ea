"""Runs node tests on one backend in processes of their own, and remembers the results.

A result is remembered under a hash of the test, of the backend's versions and of the sources
that made it, so that only what may have changed runs again.
"""

from __future__ import annotations

import functools
import hashlib
import json
import multiprocessing
import multiprocessing.connection
import sys
import time
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from native_backend import NativeBackend
from node_cases import case_hash, check_outputs, load_cases
from wasm_backend import WasmBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from multiprocessing.process import BaseProcess

__all__ = ["CaseResult", "run_case", "run_cases"]

ROOT = Path(__file__).parents[2]
CACHE = ROOT / "build" / "onnx-node-tests"
TIMEOUT_S = 120.0
"""Seconds a test may take, compilation included, before it counts as failed."""

BACKENDS: dict[str, type[WasmBackend | NativeBackend]] = {
    "wasm": WasmBackend,
    "native": NativeBackend,
}


@dataclass(frozen=True)
class CaseResult:
    """How a test ended: ``passed``, ``refused`` (not compiled or loaded), ``wrong`` or ``died``."""

    name: str
    status: str
    detail: str = ""


def run_case(name: str, backend: str) -> CaseResult:
    """Runs one test in this process."""
    case = load_cases()[name]
    try:
        loaded = BACKENDS[backend].prepare(case.model)
    except BaseException as error:  # whatever a backend raises is its result
        return CaseResult(name, "refused", _describe(error))
    try:
        for index, (inputs, _) in enumerate(case.data_sets):
            check_outputs(case, index, loaded.run(inputs))
    except BaseException as error:  # as above
        return CaseResult(name, "wrong", _describe(error))
    return CaseResult(name, "passed")


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:3000]


def run_cases(
    names: Iterable[str], backend: str, jobs: int, progress: Callable[[CaseResult], None]
) -> dict[str, CaseResult]:
    """Runs tests, ``jobs`` at a time, each in a forked process; takes known results from the cache.

    Args:
        names: Names of node tests.
        backend: ``"wasm"`` or ``"native"``.
        jobs: Processes at a time.
        progress: Told of each result that was not known before.
    """
    cases = load_cases()
    paths = {
        name: CACHE / backend / f"{_key(case_hash(cases[name]), backend)}.json" for name in names
    }
    results = {}
    for name, path in paths.items():
        if path.exists():
            results[name] = CaseResult(**json.loads(path.read_text()))
    todo = [name for name in paths if name not in results]
    (CACHE / backend).mkdir(parents=True, exist_ok=True)
    for result in _run_forked(todo, backend, jobs):
        results[result.name] = result
        paths[result.name].write_text(json.dumps(asdict(result)))
        progress(result)
    return results


def _run_forked(names: list[str], backend: str, jobs: int) -> Iterator[CaseResult]:
    # A fork server and not a bare fork: pytest-xdist's workers have threads.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["preloaded_cases"])
    waiting = list(reversed(names))
    running: dict[Any, tuple[str, BaseProcess, float]] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            name = waiting.pop()
            receiver, sender = context.Pipe(duplex=False)
            started = context.Process(target=_send_result, args=(name, backend, sender))
            started.start()
            sender.close()
            running[receiver] = (name, started, time.monotonic() + TIMEOUT_S)
        ready = multiprocessing.connection.wait(list(running), timeout=1.0)
        late = [pipe for pipe, (_, _, deadline) in running.items() if time.monotonic() > deadline]
        for pipe in [*ready, *(pipe for pipe in late if pipe not in ready)]:
            name, process, _ = running.pop(pipe)
            yield _collect(name, process, pipe)


def _collect(name: str, process: BaseProcess, pipe: Any) -> CaseResult:
    try:
        if not pipe.poll():
            process.kill()
            process.join()
            return CaseResult(name, "died", f"took longer than {TIMEOUT_S:g} s")
        result: CaseResult = pipe.recv()
    except EOFError:
        process.join()
        return CaseResult(name, "died", f"the process ended with status {process.exitcode}")
    finally:
        pipe.close()
    process.join(timeout=10)
    if process.exitcode is None:
        process.kill()
        process.join()
    return result


def _send_result(name: str, backend: str, sender: Any) -> None:
    sys.stdout = sys.stderr = Path("/dev/null").open("w")  # noqa: SIM115  # the process ends soon
    sender.send(run_case(name, backend))
    sender.close()


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
