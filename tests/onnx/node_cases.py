"""The official ONNX backend node tests: loading, hashing, judging.

The cases come from the installed ``onnx`` package, which computes their expected outputs.
"""

from __future__ import annotations

import functools
import hashlib
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = [
    "CaseResult",
    "NodeCase",
    "case_hash",
    "check_outputs",
    "in_fixed_fifth",
    "load_cases",
    "output_dtypes",
]


@dataclass(frozen=True)
class NodeCase:
    """One test: a model of one node, and pairs of inputs and expected outputs."""

    name: str
    model: onnx.ModelProto
    data_sets: list[tuple[Sequence[Any], Sequence[Any]]]
    rtol: float
    atol: float


@dataclass(frozen=True)
class CaseResult:
    """How a test ended: ``passed``, ``refused`` (not compiled or loaded), ``wrong`` or ``died``."""

    name: str
    status: str
    detail: str = ""


@functools.lru_cache(maxsize=1)
def load_cases() -> dict[str, NodeCase]:
    """All node tests by name, with the same random inputs in every process."""
    np.random.seed(0)  # the suite draws from numpy's global generator
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the suite overflows and divides by zero on purpose
        found = load_model_tests(kind="node")
    cases = {}
    for case in found:
        assert case.model is not None
        data_sets: list[tuple[Sequence[Any], Sequence[Any]]] = [
            (_arrays(inputs), _arrays(outputs)) for inputs, outputs in case.data_sets or ()
        ]
        cases[case.name] = NodeCase(case.name, case.model, data_sets, case.rtol, case.atol)
    return cases


def _arrays(values: Sequence[Any]) -> list[Any]:
    """Values with arrays in place of TensorProtos, which some tests hold."""
    return [
        onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value
        for value in values
    ]


def in_fixed_fifth(name: str) -> bool:
    """Whether a test is in the fifth that ``make test`` runs; its name alone decides."""
    return hashlib.sha256(name.encode()).digest()[0] % 5 == 0


def case_hash(case: NodeCase) -> str:
    """Changes with the model, the inputs or the expected outputs."""
    digest = hashlib.sha256(case.model.SerializeToString(deterministic=True))
    for inputs, outputs in case.data_sets:
        for value in (*inputs, *outputs):
            _update(digest, value)
    return digest.hexdigest()


def _update(digest: Any, value: object) -> None:
    if isinstance(value, np.ndarray):
        digest.update(f"{value.dtype.name}{value.shape}".encode())
        digest.update(
            np.ascontiguousarray(value).tobytes() if value.dtype != object else str(value).encode()
        )
    elif isinstance(value, (list, tuple)):
        for item in value:
            _update(digest, item)
    else:
        digest.update(str(value).encode())


def output_dtypes(model: onnx.ModelProto) -> list[np.dtype[Any] | None]:
    """Declared type of each output, ``None`` where it is no tensor."""
    dtypes: list[np.dtype[Any] | None] = []
    for output in model.graph.output:
        element_type = output.type.tensor_type.elem_type
        dtypes.append(
            np.dtype(onnx.helper.tensor_dtype_to_np_dtype(element_type)) if element_type else None
        )
    return dtypes


def check_outputs(case: NodeCase, data_set: int, outputs: Sequence[object]) -> None:
    """Compares outputs with the expected ones by the suite's own rule and tolerances.

    Raises:
        AssertionError: They differ.
    """
    expected = case.data_sets[data_set][1]
    Runner.assert_similar_outputs(expected, outputs, case.rtol, case.atol)
