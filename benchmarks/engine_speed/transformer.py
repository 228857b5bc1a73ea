"""A transformer encoder with random weights, in the shape of all-MiniLM-L6: the graph as ONNX."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

__all__ = ["INPUT_NAME", "LAYERS", "PADDING", "TOKENS", "VOCABULARY", "transformer_encoder"]

INPUT_NAME = "input_ids"
LAYERS = 6
PADDING = 0
TOKENS = 128
VOCABULARY = 1000
_WIDTH = 384
_HEADS = 12
_HEAD_WIDTH = _WIDTH // _HEADS
_INNER_WIDTH = 4 * _WIDTH


class _Graph:
    """Nodes and weights, in the order in which they are added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._random = np.random.default_rng(11)

    def add(self, operation: str, *inputs: str, **attributes: Any) -> str:
        """The name of a new node's output."""
        output = f"{operation.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, inputs, [output], **attributes))
        return output

    def constant(self, value: npt.ArrayLike, dtype: type[np.generic] = np.float32) -> str:
        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def weight(self, *shape: int, deviation: float) -> str:
        return self.constant(deviation * self._random.standard_normal(shape))

    def dense(self, value: str, inputs: int, outputs: int) -> str:
        product = self.add(
            "MatMul", value, self.weight(inputs, outputs, deviation=float(inputs) ** -0.5)
        )
        return self.add("Add", product, self.weight(outputs, deviation=0.1))

    def normalized(self, value: str) -> str:
        scale = self.constant(1 + 0.1 * self._random.standard_normal(_WIDTH))
        shift = self.weight(_WIDTH, deviation=0.1)
        return self.add("LayerNormalization", value, scale, shift, axis=-1, epsilon=1e-12)

    def gelu(self, value: str) -> str:
        """By the error function, as PyTorch exports it."""
        inner = self.add("Erf", self.add("Div", value, self.constant(np.sqrt(2.0))))
        product = self.add("Mul", value, self.add("Add", inner, self.constant(1.0)))
        return self.add("Mul", product, self.constant(0.5))

    def heads(self, value: str, order: Sequence[int]) -> str:
        shape = self.constant([1, TOKENS, _HEADS, _HEAD_WIDTH], np.int64)
        return self.add("Transpose", self.add("Reshape", value, shape), perm=order)

    def attention(self, value: str, bias: str) -> str:
        query, key, content = (self.dense(value, _WIDTH, _WIDTH) for _ in range(3))
        scores = self.add("MatMul", self.heads(query, (0, 2, 1, 3)), self.heads(key, (0, 2, 3, 1)))
        scaled = self.add("Div", scores, self.constant(np.sqrt(float(_HEAD_WIDTH))))
        shares = self.add("Softmax", self.add("Add", scaled, bias), axis=-1)
        mixed = self.add("MatMul", shares, self.heads(content, (0, 2, 1, 3)))
        joined = self.add("Transpose", mixed, perm=(0, 2, 1, 3))
        shape = self.constant([1, TOKENS, _WIDTH], np.int64)
        return self.dense(self.add("Reshape", joined, shape), _WIDTH, _WIDTH)

    def layer(self, value: str, bias: str) -> str:
        value = self.normalized(self.add("Add", self.attention(value, bias), value))
        inner = self.gelu(self.dense(value, _WIDTH, _INNER_WIDTH))
        return self.normalized(self.add("Add", self.dense(inner, _INNER_WIDTH, _WIDTH), value))

    def embedding(self) -> str:
        words = self.add(
            "Gather", self.weight(VOCABULARY, _WIDTH, deviation=1.0), INPUT_NAME, axis=0
        )
        places = self.weight(1, TOKENS, _WIDTH, deviation=0.3)
        return self.normalized(self.add("Add", words, places))

    def attention_bias(self) -> str:
        """0 for tokens that count, a large negative number for padding."""
        is_padding = self.add("Equal", INPUT_NAME, self.constant(PADDING, np.int64))
        large = self.add(
            "Mul", self.add("Cast", is_padding, to=TensorProto.FLOAT), self.constant(-1e9)
        )
        return self.add("Reshape", large, self.constant([1, 1, 1, TOKENS], np.int64))


def transformer_encoder(layers: int = LAYERS) -> onnx.ModelProto:
    """Layers of width 384 with 12 heads, 1.8 million weights each, the same ones every time.

    The input is ``input_ids``, i64[1, TOKENS], each below VOCABULARY, where PADDING gets no
    attention; the output is the last layer's, f32[1, TOKENS, 384].
    """
    graph = _Graph()
    bias, value = graph.attention_bias(), graph.embedding()
    for _ in range(layers):
        value = graph.layer(value, bias)
    ids = helper.make_tensor_value_info(INPUT_NAME, TensorProto.INT64, [1, TOKENS])
    output = helper.make_tensor_value_info(value, TensorProto.FLOAT, [1, TOKENS, _WIDTH])
    proto = helper.make_graph(graph.nodes, "encoder", [ids], [output], graph.weights)
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model
