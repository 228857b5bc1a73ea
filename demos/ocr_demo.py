"""Draws a picture with text and reads it with the PP-OCR models on a WebAssembly engine.

The pipeline is the PyPI package ``rapidocr-onnxruntime``'s (text detector, direction classifier,
recogniser); only its three onnxruntime sessions are replaced by this package. What it reads is
compared with what the unchanged pipeline reads; exit status 1 if the texts differ.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from model_files import ROOT, compiled, package_file
from ocr_picture import LINES, as_bgr, draw, save_annotated
from rapidocr_onnxruntime import RapidOCR

import iree_wasm_hal as iwh

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

OUTPUT = ROOT / "build" / "demos"
MAX_SCORE_DIFFERENCE = 1e-2
"""Most that a line's score may differ from onnxruntime's."""


class WasmSession:
    """Stands in for the pipeline's onnxruntime session: compiles the model for each input shape."""

    def __init__(self, model: Path, engine: str, threads: int) -> None:
        self._model = model
        self._engine = engine
        self._threads = threads
        self._functions: dict[tuple[int, ...], Callable[..., Any]] = {}
        self.run_s = 0.0
        """Seconds spent running, compilation and loading apart."""

    def __call__(self, pixels: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        """Runs the model on a batch of images."""
        function = self._functions.get(pixels.shape)
        if function is None:
            function = self._functions[pixels.shape] = self._load(pixels.shape)
        start = time.perf_counter()
        result = np.asarray(function(pixels))
        self.run_s += time.perf_counter() - start
        return [result]

    def _load(self, shape: tuple[int, ...]) -> Callable[..., Any]:
        start = time.perf_counter()
        archive = compiled(self._model, {"x": shape})
        compile_s = time.perf_counter() - start
        module = iwh.load(archive, engine=self._engine, threads=self._threads)
        load_s = time.perf_counter() - start - compile_s
        shape_text = "x".join(map(str, shape))
        print(
            f"{self._model.stem} {shape_text}: "
            f"compiled in {compile_s:.1f} s, loaded in {load_s * 1e3:.0f} ms"
        )
        function: Callable[..., Any] = module["main"]
        return function


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", default="wasmtime")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    OUTPUT.mkdir(parents=True, exist_ok=True)
    image = draw()
    image.save(OUTPUT / "ocr-input.png")

    expected, _ = RapidOCR()(as_bgr(image))
    pipeline = RapidOCR()
    sessions = _replace_sessions(pipeline, arguments.engine, arguments.threads)
    found, _ = pipeline(as_bgr(image))
    save_annotated(image, found or [], OUTPUT / "ocr-result.png")

    run_s = ", ".join(f"{name} {session.run_s:.2f} s" for name, session in sessions.items())
    print(f"engine {arguments.engine}, threads {arguments.threads}: {run_s}")
    print(f"picture with frames: {(OUTPUT / 'ocr-result.png').relative_to(ROOT)}")
    return _report(found or [], expected or [])


def _replace_sessions(pipeline: Any, engine: str, threads: int) -> dict[str, WasmSession]:
    names = {
        "detector": "ch_PP-OCRv4_det_infer",
        "classifier": "ch_ppocr_mobile_v2.0_cls_infer",
        "recogniser": "ch_PP-OCRv4_rec_infer",
    }
    sessions = {
        part: WasmSession(
            package_file("rapidocr_onnxruntime", f"models/{name}.onnx"), engine, threads
        )
        for part, name in names.items()
    }
    pipeline.text_det.infer = sessions["detector"]
    pipeline.text_cls.infer = sessions["classifier"]
    pipeline.text_rec.session = sessions["recogniser"]
    return sessions


def _report(found: list[list[Any]], expected: list[list[Any]]) -> int:
    print(f"\n{'DRAWN':<22} {'READ':<22} {'SCORE':>6}  {'ONNXRUNTIME READ':<22} {'SCORE':>6}")
    rows = max(len(LINES), len(found), len(expected))
    for index in range(rows):
        drawn = LINES[index] if index < len(LINES) else ""
        cells = [
            (results[index][1], f"{float(results[index][2]):.3f}")
            if index < len(results)
            else ("", "")
            for results in (found, expected)
        ]
        print(f"{drawn:<22} {cells[0][0]:<22} {cells[0][1]:>6}  {cells[1][0]:<22} {cells[1][1]:>6}")
    if [result[1] for result in found] != [result[1] for result in expected]:
        print("error: the texts differ from onnxruntime's", file=sys.stderr)
        return 1
    difference = max(
        (abs(float(a[2]) - float(b[2])) for a, b in zip(found, expected, strict=True)), default=0.0
    )
    print(f"largest difference of a score from onnxruntime: {difference:.2e}")
    if not difference <= MAX_SCORE_DIFFERENCE:
        print(f"error: more than {MAX_SCORE_DIFFERENCE:g}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
