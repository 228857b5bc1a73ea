"""The ``check`` module: expectations of test programs, as ``iree-check-module`` has them.

A failed expectation does not end the test; it is noted, and the messages are IREE's own.

Spec: compiler/src/iree/compiler/Modules/Check/check.imports.mlir,
runtime/src/iree/modules/check/module.cc.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from iree_wasm_hal.hal.buffer_view import BufferView
from iree_wasm_hal.hal.elements import element_name
from iree_wasm_hal.status import StatusCode, invocation_error
from iree_wasm_hal.vm.modules.formatting import format_buffer_view
from iree_wasm_hal.vm.modules.hal.table import expect
from iree_wasm_hal.vm.native import PyModule

__all__ = ["CheckModule"]

_MAX_SHOWN_ELEMENTS = 1024
_NUMBER_KINDS = "iuf"


class CheckModule(PyModule):
    """Serves the expectations and collects what failed.

    Attributes:
        failures: Messages of failed expectations since the last ``reset``.
    """

    def __init__(self) -> None:
        super().__init__("check")
        self.failures: list[str] = []
        self.function("expect_true", "0i_v")(self._expect_true)
        self.function("expect_false", "0i_v")(self._expect_false)
        self.function("expect_all_true", "0rr_v")(self._expect_all_true)
        self.function("expect_eq", "0rrr_v")(self._expect_eq)
        self.function("expect_almost_eq", "0rrrff_v")(self._expect_almost_eq)

    def reset(self) -> None:
        """Forgets the failures."""
        self.failures = []

    def _expect_true(self, operand: int) -> None:
        if not operand:
            self.failures.append(f"Expected {operand} to be nonzero.")

    def _expect_false(self, operand: int) -> None:
        if operand:
            self.failures.append(f"Expected {operand} to be zero.")

    def _expect_all_true(self, device: object, operand: object) -> None:
        view = expect(operand, BufferView, "check.expect_all_true")
        array = view.to_numpy()
        if array.dtype.kind not in _NUMBER_KINDS or (
            array.dtype.itemsize == 2 and _is_float(array)
        ):
            raise _unsupported(view)
        if not array.all():
            zero = int(np.argmin(array.reshape(-1) != 0))
            self.failures.append(
                f"Expected all elements to be nonzero; the first zero is at index {zero}.\n"
                f"{_show('value', view)}"
            )

    def _expect_eq(self, device: object, lhs: object, rhs: object) -> None:
        left = expect(lhs, BufferView, "check.expect_eq: lhs")
        right = expect(rhs, BufferView, "check.expect_eq: rhs")
        differences = _type_differences(left, right)
        if left.buffer.read(0, left.byte_length) != right.buffer.read(0, right.byte_length):
            differences.append("Contents does not match.")
        if differences:
            self._note("Expected equality of these values.", differences, left, right)

    def _expect_almost_eq(
        self, device: object, lhs: object, rhs: object, atol: float, rtol: float
    ) -> None:
        left = expect(lhs, BufferView, "check.expect_almost_eq: lhs")
        right = expect(rhs, BufferView, "check.expect_almost_eq: rhs")
        differences = _type_differences(left, right)
        if not differences:
            mismatch = _almost_equal_mismatch(_floats(left), _floats(right), atol, rtol)
            differences += [] if mismatch is None else [mismatch]
        if differences:
            self._note("Expected near equality of these values.", differences, left, right)

    def _note(self, what: str, differences: list[str], left: BufferView, right: BufferView) -> None:
        head = " ".join([what, *differences])
        self.failures.append(f"{head}\n{_show('lhs', left)}\n{_show('rhs', right)}")


def _type_differences(left: BufferView, right: BufferView) -> list[str]:
    differences = []
    if left.element_type != right.element_type:
        differences.append("Element types do not match.")
    if left.shape != right.shape:
        differences.append("Shapes do not match.")
    return differences


def _floats(view: BufferView) -> npt.NDArray[np.float64]:
    array = view.to_numpy()
    if not _is_float(array):
        raise _unsupported(view)
    return array.reshape(-1).astype(np.float64)


def _is_float(array: npt.NDArray[Any]) -> bool:
    # The extension floats of ml_dtypes are of kind V.
    return array.dtype.kind in "fV"


def _almost_equal_mismatch(
    actual: npt.NDArray[np.float64], expected: npt.NDArray[np.float64], atol: float, rtol: float
) -> str | None:
    """Where the first pair of elements differs too much.

    NaN equals NaN; the relative tolerance scales with the expected operand
    (``iree_math_fuzzy_compare_f64``, iree/base/internal/math.h).
    """
    with np.errstate(invalid="ignore", over="ignore"):
        difference = expected - actual
        close = np.abs(difference) <= atol + rtol * np.abs(expected)
    equal = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    wrong = ~(equal | (close & np.isfinite(expected)))
    if not wrong.any():
        return None
    index = int(np.argmax(wrong))
    return (
        f"Contents does not match to tolerance parameters atol={atol:g}, rtol={rtol:g}. The first "
        f"failure occurs at index {index} as the lhs value {actual[index]:g} differs from the rhs "
        f"value {expected[index]:g} by {difference[index]:.3e}."
    )


def _show(name: str, view: BufferView) -> str:
    return f"  {name}:\n    {format_buffer_view(view, _MAX_SHOWN_ELEMENTS)}"


def _unsupported(view: BufferView) -> Exception:
    return invocation_error(
        StatusCode.INVALID_ARGUMENT, f"unsupported element type {element_name(view.element_type)}"
    )
