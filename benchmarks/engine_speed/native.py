"""What native code needs for the same work: onnxruntime on one thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from engine_speed.factors import SIZE, Factors
from engine_speed.timing import cpu_seconds

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    Array = npt.NDArray[np.generic]

__all__ = ["matmul", "model", "one_thread"]


def one_thread(model: bytes | Path) -> onnxruntime.InferenceSession:
    """A session on the calling thread alone."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors; light SqueezeNet has constants that nothing uses
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def matmul(factors: Factors, *, packed: bool) -> Callable[[], float]:
    """A function that gives the CPU time of one f32 product.

    Args:
        factors: What to multiply.
        packed: Whether the right factor is a constant, which onnxruntime packs beforehand.
    """
    shape = [SIZE, SIZE]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name in (("a",) if packed else ("a", "b"))
    ]
    output = helper.make_tensor_value_info("c", TensorProto.FLOAT, shape)
    constants = [numpy_helper.from_array(factors.right, "b")] if packed else []
    node = helper.make_node("MatMul", ["a", "b"], ["c"])
    graph = helper.make_graph([node], "matmul", inputs, [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    session = one_thread(model.SerializeToString())
    arguments = {"a": factors.left} if packed else {"a": factors.left, "b": factors.right}
    (result,) = session.run(None, arguments)
    np.testing.assert_array_equal(result, factors.product)
    return lambda: cpu_seconds(lambda: session.run(None, arguments))


def model(path: Path, name: str, argument: Array) -> Callable[[], float]:
    """A function that gives the CPU time of one inference."""
    session = one_thread(path)
    return lambda: cpu_seconds(lambda: session.run(None, {name: argument}))
