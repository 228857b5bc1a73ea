"""What both ONNX backends share: a loaded model with one function.

A tensor that IREE's ABI made signless gets the sign back that the model declares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from node_cases import output_dtypes
from onnx.backend.base import BackendRep

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import onnx

__all__ = ["LoadedModel"]


class LoadedModel(BackendRep):
    """A model with one function that takes and returns arrays."""

    def __init__(self, function: Callable[..., Any], model: onnx.ModelProto) -> None:
        self._function = function
        self._dtypes = output_dtypes(model)

    def run(self, inputs: Sequence[Any], **kwargs: Any) -> tuple[Any, ...]:
        results = self._function(*inputs)
        if not isinstance(results, (tuple, list)):
            results = (results,)
        return tuple(
            _with_declared_type(np.asarray(result), dtype)
            for result, dtype in zip(results, self._dtypes, strict=True)
        )


def _with_declared_type(
    array: np.ndarray[Any, Any], dtype: np.dtype[Any] | None
) -> np.ndarray[Any, Any]:
    if dtype is None or array.dtype == dtype or array.dtype.itemsize != dtype.itemsize:
        return array
    return array.view(dtype)
