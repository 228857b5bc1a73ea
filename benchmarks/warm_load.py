"""Loading a model in a new process, with an empty cache of compiled code and with a filled one.

Each load is the first of a process. What is on the clock is ``iree_wasm_hal.load`` with an engine
that is open; opening it, which no cache spares, is measured by itself. Python's cyclic garbage of
the imports is collected before: when it would be otherwise depends on how many modules there are,
and takes a millisecond of whichever engine's load it meets. ``load.py`` prints the table;
``warm_load.py ENGINE FILE.vmfb`` is one such process.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["compare_loads", "detector_archive", "print_loads"]

FACTOR = 10.0


def detector_archive() -> Path:
    """The PP-OCR text detector for pictures of 640x640."""
    sys.path.append(str(Path(__file__).parents[1] / "demos"))
    from model_files import compiled, package_file  # noqa: PLC0415 - a demo's module

    model = package_file("rapidocr_onnxruntime", "models/ch_PP-OCRv4_det_infer.onnx")
    return compiled(model, {"x": (1, 3, 640, 640)})


def compare_loads(engines: Sequence[str], rounds: int) -> dict[str, dict[str, float]]:
    """Medians in seconds by engine: ``cold``, ``warm``, ``open``, and ``ratio``."""
    archive = detector_archive()
    figures = {}
    for engine in engines:
        cold, warm, opening = [], [], []
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                first = _load(engine, archive, folder)
                again = [_load(engine, archive, folder) for _ in range(3)]
            cold.append(first["load"])
            warm += [one["load"] for one in again]
            opening += [one["open"] for one in [first, *again]]
        medians = [statistics.median(times) for times in (cold, warm, opening)]
        figures[engine] = dict(zip(("cold", "warm", "open"), medians, strict=True))
        figures[engine]["ratio"] = medians[0] / medians[1]
    return figures


def print_loads(figures: dict[str, dict[str, float]]) -> None:
    print("PP-OCR detector 640x640, first load of a process, ms")
    print(f"{'engine':12}{'cold':>10}{'warm':>10}{'ratio':>8}{'opening the engine':>22}")
    for engine, figure in figures.items():
        cold, warm, opening = (figure[name] * 1000 for name in ("cold", "warm", "open"))
        print(f"{engine:12}{cold:10.1f}{warm:10.1f}{figure['ratio']:8.1f}{opening:22.1f}")
    met = all(figure["ratio"] >= FACTOR for figure in figures.values())
    print(f"limit ({FACTOR:.0f} x): {'met' if met else 'missed'}")


def _load(engine: str, archive: Path, folder: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, __file__, engine, str(archive)],
        env=os.environ | {"IREE_WASM_HAL_CACHE_DIR": folder, "IREE_WASM_HAL_NO_CACHE": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    document: dict[str, float] = json.loads(done.stdout)
    return document


def main() -> None:
    import iree_wasm_hal as iwh  # noqa: PLC0415 - in the process that is measured only
    from iree_wasm_hal.runtime import loader  # noqa: F401, PLC0415 - imports are outside the clock

    start = time.perf_counter()
    engine = iwh.open_engine(sys.argv[1])
    opened = time.perf_counter()
    gc.collect()
    begun = time.perf_counter()
    module = iwh.load(sys.argv[2], engine=engine)
    loaded = time.perf_counter()
    module.close()
    print(json.dumps({"open": opened - start, "load": loaded - begun}))


if __name__ == "__main__":
    main()
