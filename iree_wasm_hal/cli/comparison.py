"""Compares results with expected ones by IREE's rules.

A fraction is right if ``abs(actual - expected) <= atol + rtol * abs(expected)``, with NaN equal
to NaN; everything else must be the same bytes.
Source: IREE's ``runtime/src/iree/tooling/comparison.cc`` and ``buffer_view_matchers.c``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from iree_wasm_hal.cli.printing import ScalarResult, format_result, format_tensor, tensor_type
from iree_wasm_hal.cli.values import Null, ScalarText, Tensor, Value
from iree_wasm_hal.vm.modules.formatting import format_element

__all__ = ["Tolerance", "compare_results"]

PRINTED_ELEMENT_COUNT = 1024
"""Elements of a differing tensor that are shown."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How near a fraction must be; the defaults are iree-run-module's."""

    f16: float = 0.001
    f32: float = 0.0001
    f64: float = 0.0001
    bf16: float = 0.01
    relative: float = 1e-5
    exact: bool = False
    """Compare bytes and ignore the tolerances."""

    def absolute(self, element_name: str) -> float | None:
        """Absolute tolerance for a type; ``None`` where bytes are compared."""
        if self.exact or element_name not in ("f16", "f32", "f64", "bf16"):
            return None
        return {"f16": self.f16, "f32": self.f32, "f64": self.f64, "bf16": self.bf16}[element_name]


def compare_results(
    expected: list[Value],
    actual: list[Tensor | ScalarResult | None],
    tolerance: Tolerance,
) -> list[str]:
    """What differs, one paragraph per result; empty where all results are right."""
    if len(expected) != len(actual):
        return [f"[FAILED] expected {len(expected)} list elements but {len(actual)} provided"]
    failures = []
    for index, (wanted, got) in enumerate(zip(expected, actual, strict=True)):
        difference = _compare(wanted, got, tolerance)
        if difference:
            failures.append(f"[FAILED] result[{index}]: {difference}")
    return failures


def _compare(wanted: Value, got: Tensor | ScalarResult | None, tolerance: Tolerance) -> str:
    if isinstance(wanted, Null):
        return ""
    if isinstance(wanted, ScalarText) and isinstance(got, tuple):
        number = wanted.as_float() if got[0][0] == "f" else wanted.as_int()
        same = number == got[1] or (number != number and got[1] != got[1])  # noqa: PLR0124  # NaN
        expected_text = format_result((got[0], number), 1)
        return (
            ""
            if same
            else f"values differ\n  expected: {expected_text}\n  actual: {format_result(got, 1)}"
        )
    if isinstance(wanted, Tensor) and isinstance(got, Tensor):
        return _compare_tensors(wanted, got, tolerance)
    return (
        f"variant types mismatch; expected {_kind(wanted)} but got "
        f"{'(null)' if got is None else _kind(got)}"
    )


def _kind(value: Value | ScalarResult) -> str:
    if isinstance(value, Tensor):
        return "hal.buffer_view"
    return value[0] if isinstance(value, tuple) else "a primitive value"


def _compare_tensors(wanted: Tensor, got: Tensor, tolerance: Tolerance) -> str:
    wanted_type, got_type = tensor_type(wanted), tensor_type(got)
    if wanted_type != got_type:
        reason = (
            f"metadata is {got_type}; expected that the view matches {wanted_type}; "
            f"expected that the view is equal to contents of a view of {wanted_type}"
        )
    else:
        wanted_flat = np.ascontiguousarray(wanted.array).reshape(-1)
        got_flat = np.ascontiguousarray(got.array).reshape(-1)
        wrong = np.flatnonzero(
            ~_same_elements(wanted_flat, got_flat, tolerance, wanted.element_name)
        )
        if not wrong.size:
            return ""
        index = int(wrong[0])
        reason = (
            f"element at index {index} ({format_element(got_flat[index])}) does "
            f"not match the expected ({format_element(wanted_flat[index])}); "
            f"expected that the view is equal to contents of a view of {wanted_type}"
        )
    return (
        f"{reason}\n  expected:\n{format_tensor(wanted, PRINTED_ELEMENT_COUNT)}"
        f"\n  actual:\n{format_tensor(got, PRINTED_ELEMENT_COUNT)}"
    )


def _same_elements(
    wanted: npt.NDArray[Any], got: npt.NDArray[Any], tolerance: Tolerance, element_name: str
) -> npt.NDArray[np.bool_]:
    absolute = tolerance.absolute(element_name)
    if absolute is None:
        width = wanted.dtype.itemsize
        same_bytes = wanted.view(np.uint8) == got.view(np.uint8)
        return np.asarray(same_bytes.reshape(-1, width).all(axis=1))
    wanted, got = wanted.astype(np.float64), got.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        near = np.abs(got - wanted) <= absolute + tolerance.relative * np.abs(wanted)
    both_nan = np.isnan(wanted) & np.isnan(got)
    return np.asarray((got == wanted) | both_nan | (np.isfinite(wanted) & near))
