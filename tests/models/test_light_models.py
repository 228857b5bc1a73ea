"""The light networks in onnx's own test data, against the outputs stored there.

Their weights are constants that the compiler folds; stored outputs come from onnx's reference
evaluator. Tolerances are the suite's: rtol 1e-3, atol 1e-7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from model_files import package_file

if TYPE_CHECKING:
    from collections.abc import Callable

    LoadModel = Callable[..., Callable[..., Any]]

FOLDER = "backend/test/data/light"


@pytest.mark.parametrize("name", ["resnet50", "squeezenet", "densenet121"])
def test_light_network(load_model: LoadModel, name: str) -> None:
    path = package_file("onnx", f"{FOLDER}/light_{name}.onnx")
    stored = onnx.TensorProto()
    stored.ParseFromString(package_file("onnx", f"{FOLDER}/light_{name}_output_0.pb").read_bytes())
    graph = onnx.load(path).graph
    constants = {initializer.name for initializer in graph.initializer}
    (declared,) = [value for value in graph.input if value.name not in constants]
    shape = tuple(dimension.dim_value for dimension in declared.type.tensor_type.shape.dim)
    count = int(np.prod(shape))
    image = (np.arange(count).reshape(shape) / count).astype(np.float32)  # as the suite makes it
    result = np.asarray(load_model(path)(image))
    np.testing.assert_allclose(result, onnx.numpy_helper.to_array(stored), rtol=1e-3, atol=1e-7)
