"""Recognises this repository's own files with the Magika model, on a WebAssembly engine.

Compiles the model that the PyPI package ``magika`` ships, runs it on every tracked kind of file and
compares each score with onnxruntime's. Exit status 1 if any differs by more than 1e-3.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
from magika_features import MODEL_PATH, MagikaConfig
from model_files import ROOT, compiled, package_file

import iree_wasm_hal as iwh

MAX_DIFFERENCE = 1e-3
"""Most that a score may differ from onnxruntime's."""

SKIPPED_FOLDERS = frozenset({"build", "dist", "__pycache__", "node_modules"})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="files to recognise instead")
    parser.add_argument("--engine", default="wasmtime")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()

    config = MagikaConfig.load()
    model = package_file("magika", MODEL_PATH)
    shape = (1, config.begin_size + config.end_size)
    archive = compiled(model, {"bytes": shape}, "wasm32-simd128,wasm32")  # for any engine
    start = time.perf_counter()
    module = iwh.load(archive, engine=arguments.engine, threads=arguments.threads)
    function = module["main"]
    load_s = time.perf_counter() - start
    reference = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])

    latencies_ms: list[float] = []
    largest_difference = 0.0
    print(f"{'FILE':<52} {'LABEL':<12} {'SCORE':>6} {'MS':>8}")
    for path in arguments.files or _own_files():
        features = config.features(path)
        if features is None:
            continue
        start = time.perf_counter()
        scores = np.asarray(function(features))
        latencies_ms.append((time.perf_counter() - start) * 1e3)
        (expected,) = reference.run(["target_label"], {"bytes": features})
        largest_difference = max(largest_difference, float(np.abs(scores - expected).max()))
        verdict = config.verdict(scores)
        name = str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)
        print(f"{name:<52} {verdict.label:<12} {verdict.score:6.3f} {latencies_ms[-1]:8.1f}")
    print(
        f"engine {arguments.engine}, threads {arguments.threads}, "
        f"load {load_s * 1e3:.0f} ms, {len(latencies_ms)} files, "
        f"median {statistics.median(latencies_ms):.1f} ms"
    )
    print(f"largest difference from onnxruntime: {largest_difference:.2e}")
    if not largest_difference <= MAX_DIFFERENCE:
        print(f"error: more than {MAX_DIFFERENCE:g}", file=sys.stderr)
        return 1
    return 0


def _own_files() -> list[Path]:
    """This repository's files, one of a kind in each folder, to keep the table short."""
    seen: set[tuple[Path, str]] = set()
    files = []
    for path in sorted(ROOT.rglob("*")):
        folders = path.relative_to(ROOT).parts[:-1]
        hidden = any(part.startswith(".") or part in SKIPPED_FOLDERS for part in folders)
        kind = (path.parent, path.suffix)
        if hidden or not path.is_file() or path.name.startswith(".") or kind in seen:
            continue
        seen.add(kind)
        files.append(path)
    return files


if __name__ == "__main__":
    sys.exit(main())
