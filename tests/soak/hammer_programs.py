"""The hammer's three programs, each with calls whose results are known beforehand.

``numbers`` is exact, so numpy says what is right. ``spin`` loops as often as its argument says,
also for ever. ``voice`` is a real model: its first results are compared with onnxruntime, and every
later one must have the same bits.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from model_files import compiled, package_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    import iree_wasm_hal as iwh

__all__ = [
    "Case",
    "Program",
    "WrongResultError",
    "check",
    "endless_arguments",
    "programs",
    "voice_cases",
]

Array = np.ndarray[Any, np.dtype[Any]]

TARGETS = "wasm32-simd128,wasm32"
_ENDLESS = 1 << 62  # rounds of ``spin``: no test lives to see the last
_MULTIPLIER, _MIXER = 1664525, 1013904223  # a usual linear congruential generator's


class WrongResultError(AssertionError):
    """A call gave what it must not give."""


@dataclass(frozen=True)
class Case:
    """One call and what it gives."""

    function: str
    arguments: tuple[Array, ...]
    results: tuple[Array, ...]


@dataclass(frozen=True)
class Program:
    """An archive and cases for it."""

    name: str
    archive: Path
    cases: Sequence[Case]


def check(case: Case, got: object) -> None:
    """Checks that a call gave every bit of what it must give.

    Raises:
        WrongResultError: It did not.
    """
    results = got if isinstance(got, tuple) else (got,)
    for expected, result in zip(case.results, results, strict=True):
        array = np.asarray(result)
        if array.shape != expected.shape or array.tobytes() != expected.tobytes():
            raise WrongResultError(f"{case.function}: got {array}, expected {expected}")


def endless_arguments(element_count: int, endless: slice) -> tuple[Array, Array]:
    """Arguments of ``spin`` with which some of its elements never end."""
    rounds = np.zeros(element_count, np.int64)
    rounds[endless] = _ENDLESS
    return np.zeros(element_count, np.int32), rounds


def _numbers() -> Program:
    random = np.random.default_rng(1)
    cases = []
    for m, n in [(1, 1), (7, 130), (33, 65), (128, 96)]:
        # small integers: every partial sum is exact in f32
        a = random.integers(-8, 8, (m, 96)).astype(np.float32)
        b = random.integers(-8, 8, (96, n)).astype(np.float32)
        cases.append(Case("matmul", (a, b), (a @ b,)))
    for length in (0, 1, 1000, 60_000):
        values = random.integers(-(2**31), 2**31, length).astype(np.int32)
        cases.append(Case("widen", (values,), (values.astype(np.int64),)))
    dividend = random.integers(-1000, 1000, 5000).astype(np.int32)
    divisor = random.integers(1, 9, 5000).astype(np.int32)
    quotient = np.trunc(dividend / divisor).astype(np.int32)
    cases.append(Case("divide", (dividend, divisor), (quotient,)))
    return Program("numbers", _archive("numbers"), cases)


def _spin() -> Program:
    random = np.random.default_rng(2)
    cases = []
    for element_count, most in [(1, 2000), (300, 100), (9000, 12)]:
        values = random.integers(-(2**31), 2**31, element_count).astype(np.int32)
        rounds = random.integers(0, most, element_count)
        expected = values.copy()
        for number in range(most):
            mixed = (expected.astype(np.int64) * _MULTIPLIER).astype(np.int32) ^ _MIXER
            expected = np.where(number < rounds, mixed, expected).astype(np.int32)
        cases.append(Case("spin", (values, rounds), (expected,)))
    return Program("spin", _archive("spin"), cases)


def _archive(name: str) -> Path:
    return compiled(Path(__file__).with_name(f"{name}.mlir"), target=TARGETS)


def _voice_model() -> Path:
    return package_file("silero_vad", "data/silero_vad_openvino_16k.onnx")


def voice_cases(module: iwh.Module) -> list[Case]:
    """A voice detector's own results for some noise, after onnxruntime agreed with them.

    Engines differ in the last bits only where kernels use relaxed SIMD, which these do not; still
    each engine is held to its own bits, so that this says nothing but "threads change nothing".
    """
    random = np.random.default_rng(3)
    session = onnxruntime.InferenceSession(_voice_model(), providers=["CPUExecutionProvider"])
    state = np.zeros((2, 1, 128), np.float32)
    cases = []
    for loudness in (0.001, 0.5, 0.3):
        chunk = (loudness * random.standard_normal((1, 576))).astype(np.float32)
        expected = session.run(None, {"input": chunk, "state": state})
        results = tuple(np.array(one) for one in module["main"](chunk, state))
        for result, right in zip(results, expected, strict=True):
            np.testing.assert_allclose(result, right, rtol=0, atol=1e-3)
        cases.append(Case("main", (chunk, state), results))
        state = results[1]
    return cases


@functools.cache
def programs() -> tuple[Program, ...]:
    """All three; ``voice`` comes without cases, since each engine makes its own."""
    return (_numbers(), _spin(), Program("voice", compiled(_voice_model(), None, TARGETS), ()))
