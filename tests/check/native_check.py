"""Runs a check test natively: IREE's runtime with a ``check`` module written in Python.

The released packages have no ``iree-check-module``; this does what it does.
"""

from __future__ import annotations

from typing import Any, ClassVar

import iree.runtime as rt
import numpy as np

__all__ = ["run_natively"]


class _Check:
    """The module's functions. Failed expectations are noted in ``failures``."""

    failures: ClassVar[list[str]]

    def __init__(self, interface: Any) -> None:
        pass

    def expect_true(self, operand: int) -> None:
        if not operand:
            self.failures.append("expected true")

    def expect_false(self, operand: int) -> None:
        if operand:
            self.failures.append("expected false")

    def expect_all_true(self, device: Any, operand: Any) -> None:
        if not _array(operand).all():
            self.failures.append("expected all true")

    def expect_eq(self, device: Any, lhs: Any, rhs: Any) -> None:
        left, right = _view(lhs), _view(rhs)
        if left.shape != right.shape or _bytes(lhs).tobytes() != _bytes(rhs).tobytes():
            self.failures.append("expected equality")

    def expect_almost_eq(self, device: Any, lhs: Any, rhs: Any, atol: float, rtol: float) -> None:
        left, right = _array(lhs), _array(rhs)
        near = left.shape == right.shape and np.allclose(left, right, rtol, atol, equal_nan=True)
        if not near:
            self.failures.append("expected near equality")


def _view(ref: Any) -> Any:
    return ref.deref(rt.HalBufferView)


def _bytes(ref: Any) -> np.ndarray[Any, Any]:
    return np.frombuffer(_view(ref).map(), np.uint8)


def _array(ref: Any) -> np.ndarray[Any, Any]:
    view = _view(ref)
    dtype = rt.HalElementType.map_to_dtype(rt.HalElementType(view.element_type))
    return np.frombuffer(view.map(), dtype).astype(np.float64).reshape(view.shape)


def run_natively(archive: bytes) -> dict[str, list[str]]:
    """Failed expectations by test name."""
    config = rt.Config("local-sync")

    class check(_Check):  # noqa: N801  # an interface makes its own instance of it
        failures: ClassVar[list[str]] = []

    interface = rt.PyModuleInterface("check", check)
    interface.export("expect_true", "0i_v", check.expect_true)
    interface.export("expect_false", "0i_v", check.expect_false)
    interface.export("expect_all_true", "0rr_v", check.expect_all_true)
    interface.export("expect_eq", "0rrr_v", check.expect_eq)
    interface.export("expect_almost_eq", "0rrrff_v", check.expect_almost_eq)
    hal = rt.create_hal_module(config.vm_instance, config.device)
    program = rt.VmModule.copy_buffer(config.vm_instance, archive)
    context = rt.VmContext(config.vm_instance, modules=(hal, interface.create(), program))
    results = {}
    for name in program.function_names:
        if name.startswith("__") or "$" in name:
            continue
        check.failures = []
        try:
            context.invoke(program.lookup_function(name), rt.VmVariantList(0), rt.VmVariantList(0))
        except (RuntimeError, ValueError, IndexError) as error:
            check.failures.append(str(error))
        results[name] = list(check.failures)
    return results
