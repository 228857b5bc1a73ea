"""Runs the check tests of an IREE source checkout natively and on WebAssembly.

A developer's tool: IREE's tests are not part of this repository. Every ``tests/e2e/**/*.mlir`` that
uses the ``check`` dialect is compiled for both with default flags; tests of GPU back ends are left
out. Prints the counts and each test that passes natively and not here; exit status 1 if any does.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SKIPPED_FOLDERS = ("rocm_specific", "vulkan_specific")
"""Tests of other back ends."""
TIMEOUT_S = 600.0
"""Seconds for compiling and running one file; the large matrix products take minutes."""
REFUSED = "*"
"""Stands for all tests of a file that could not be compiled or loaded."""

Results = dict[str, list[str]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iree-source", type=Path, required=True, help="an IREE checkout")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="only files with TEXT in the path"
    )
    parser.add_argument("--one", nargs=2, metavar=("SIDE", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        side, file = arguments.one
        print(json.dumps(_run_wasm(Path(file)) if side == "wasm" else _run_native(Path(file))))
        return 0
    root = arguments.iree_source / "tests" / "e2e"
    files = [file for file in _check_tests(root) if arguments.only in str(file)]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        pairs = pool.map(lambda file: (_in_child("native", file), _in_child("wasm", file)), files)
        return _report(root, files, list(pairs))


def _check_tests(root: Path) -> list[Path]:
    return [
        file
        for file in sorted(root.rglob("*.mlir"))
        if "check.expect" in file.read_text()
        and file.relative_to(root).parts[0] not in SKIPPED_FOLDERS
    ]


def _in_child(side: str, file: Path) -> Results:
    """Runs one file in a process of its own: native code, or the compiler, may end it."""
    command = [sys.executable, __file__, "--iree-source", ".", "--one", side, str(file)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return {REFUSED: [f"took longer than {TIMEOUT_S:g} s"]}
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {REFUSED: [f"exit status {done.returncode}: {last}"]}
    results: Results = json.loads(done.stdout.splitlines()[-1])
    return results


def _run_wasm(file: Path) -> Results:
    import iree_wasm_hal as iwh
    from iree_wasm_hal.runtime.check import run_tests

    try:
        archive = iwh.compile(file)
        return {result.name: list(result.messages) for result in run_tests(archive)}
    except iwh.Error as error:
        return {REFUSED: [str(error)]}


def _run_native(file: Path) -> Results:
    from native_check import run_natively

    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "native.vmfb")
        command: list[str | Path] = [
            Path(sys.executable).parent / "iree-compile",
            file,
            "-o",
            archive,
        ]
        command += [
            "--iree-hal-target-device=local",
            "--iree-hal-local-target-device-backends=llvm-cpu",
            "--iree-llvmcpu-target-cpu=host",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return {REFUSED: [done.stderr[:300]]}
        return run_natively(archive.read_bytes())


def _report(root: Path, files: list[Path], pairs: list[tuple[Results, Results]]) -> int:
    counts: Counter[str] = Counter()
    for file, (native, wasm) in zip(files, pairs, strict=True):
        for name in native:
            counts["native"] += name != REFUSED and not native[name]
            wrong = wasm.get(name, wasm.get(REFUSED, ["not exported"]))
            counts["wasm"] += name != REFUSED and not wrong
            counts["total"] += 1
            if not native[name] and wrong:
                counts["behind"] += 1
                reason = wrong[0].strip().splitlines()[:4]
                print(f"{file.relative_to(root)} @{name}: {' | '.join(reason)[:400]}")
    print(
        f"{len(files)} files; passed / native passes / total: "
        f"{counts['wasm']} / {counts['native']} / {counts['total']}"
    )
    return 1 if counts["behind"] else 0


if __name__ == "__main__":
    sys.exit(main())
