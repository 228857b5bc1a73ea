"""Folds what is constant in an ONNX graph: given inputs, static shapes, decided ``If`` nodes.

IREE's importer takes an ``If`` in simple forms only, and wants the shape arguments of operators
(pads, target shapes, axes) as constants, where exporters compute them from other shapes. Only small
tensors are folded here; large constant expressions are the compiler's work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    import onnx

    Tensor = np.ndarray[Any, np.dtype[Any]]

__all__ = [
    "attributes_of",
    "fold_constants",
    "small_constants",
    "static_shapes",
]

_MAX_ELEMENT_COUNT = 1024
"""Larger results stay as they are: exporters write weights as ``ConstantOfShape``."""
_MAX_ROUNDS = 16
_NOT_FUNCTIONS = frozenset(
    {
        *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
        *("Bernoulli", "Multinomial", "Dropout", "If", "Loop", "Scan"),
    }
)
"""Operators whose result is not a function of their inputs, or that hold graphs."""


def static_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Value name -> its shape, of every value whose shape the model says and is static."""
    values = [*model.graph.value_info, *model.graph.input, *model.graph.output]
    shapes = {}
    for value in values:
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and all(d.HasField("dim_value") for d in tensor.shape.dim):
            shapes[value.name] = tuple(d.dim_value for d in tensor.shape.dim)
    for initializer in model.graph.initializer:
        shapes[initializer.name] = tuple(initializer.dims)
    return {name: shape for name, shape in shapes.items() if all(size >= 0 for size in shape)}


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """Attribute name -> value, as numbers, bytes, lists or protos."""
    from onnx import helper  # noqa: PLC0415 # an extra

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def small_constants(graph: onnx.GraphProto) -> dict[str, Tensor]:
    """Value name -> value, of small initializers and ``Constant`` nodes that hold a tensor."""
    from onnx import numpy_helper  # noqa: PLC0415 # an extra

    constants = _small_initializers(graph)
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return constants


def _small_initializers(graph: onnx.GraphProto) -> dict[str, Tensor]:
    from onnx import TensorProto, numpy_helper  # noqa: PLC0415 # an extra

    constants = {}
    for tensor in graph.initializer:
        count = 1
        for size in tensor.dims:
            count *= size
        is_external = tensor.data_location == TensorProto.EXTERNAL
        if count <= _MAX_ELEMENT_COUNT and not is_external:
            constants[tensor.name] = numpy_helper.to_array(tensor)
    return constants


def _subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


class _Folder:
    """One pass over a graph; names are unique over all passes through ``prefix``."""

    def __init__(self, model: onnx.ModelProto, prefix: str) -> None:
        self.model = model
        self.prefix = prefix
        self.shapes = static_shapes(model)
        self.constants = _small_initializers(model.graph)
        self.opsets = {opset.domain: opset.version for opset in model.opset_import}
        self.change_count = 0

    def run(self) -> None:
        """Rewrites the graph's nodes."""
        nodes: list[onnx.NodeProto] = []
        for node in self.model.graph.node:
            nodes.extend(self._rewrite(node))
        del self.model.graph.node[:]
        self.model.graph.node.extend(nodes)

    def _rewrite(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        if node.op_type == "If" and node.input[0] in self.constants:
            self.change_count += 1
            branch = "then_branch" if bool(self.constants[node.input[0]].item()) else "else_branch"
            graph = next(a.g for a in node.attribute if a.name == branch)
            return self._inline(graph, node)
        results = self._evaluate(node)
        if results is None:
            return [node]
        for name, value in zip(node.output, results, strict=False):
            self.constants[name] = value
        if node.op_type == "Constant":
            return [node]
        self.change_count += 1
        return [self._constant(name, self.constants[name]) for name in node.output if name]

    def _evaluate(self, node: onnx.NodeProto) -> list[Tensor] | None:
        """The node's results if they are constant and small, else None."""
        import numpy as np  # noqa: PLC0415 # beside onnx

        if node.op_type in ("Shape", "Size") and node.input[0] in self.shapes:
            # Only the shape of the operand is looked at.
            operand = np.broadcast_to(np.zeros((), np.float32), self.shapes[node.input[0]])
            return self._reference(node, {node.input[0]: operand})
        inputs = [name for name in node.input if name]
        if node.op_type in _NOT_FUNCTIONS or any(name not in self.constants for name in inputs):
            return None
        if any(self._element_count(name) > _MAX_ELEMENT_COUNT for name in node.output):
            return None
        return self._reference(node, {name: self.constants[name] for name in inputs})

    def _element_count(self, name: str) -> int:
        """Elements of a value; an unknown shape counts as small."""
        count = 1
        for size in self.shapes.get(name, ()):
            count *= size
        return count

    def _reference(self, node: onnx.NodeProto, feeds: Mapping[str, Tensor]) -> list[Tensor] | None:
        import numpy as np  # noqa: PLC0415 # beside onnx
        from onnx.reference import ReferenceEvaluator  # noqa: PLC0415 # an extra

        try:
            results = ReferenceEvaluator(node, opsets=self.opsets).run(None, dict(feeds))
        except Exception:  # whatever the evaluator lacks stays in the graph
            return None
        arrays = [np.asarray(result) for result in results]
        if any(array.size > _MAX_ELEMENT_COUNT or array.dtype.hasobject for array in arrays):
            return None
        return arrays

    @staticmethod
    def _constant(name: str, value: Tensor) -> onnx.NodeProto:
        from onnx import helper, numpy_helper  # noqa: PLC0415 # an extra

        return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))

    def _inline(self, graph: onnx.GraphProto, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """The taken branch's nodes under new names, its outputs bound to the node's."""
        from onnx import helper  # noqa: PLC0415 # an extra

        prefix = f"{self.prefix}{self.change_count}/"
        defined = {tensor.name for tensor in graph.initializer}
        defined |= {output for inner in graph.node for output in inner.output if output}
        names = {name: prefix + name for name in defined}
        nodes = []
        for tensor in graph.initializer:
            renamed = self.model.graph.initializer.add()
            renamed.CopyFrom(tensor)
            renamed.name = names[tensor.name]
        for inner in graph.node:
            nodes.append(_renamed(inner, names))
        for value, name in zip(graph.output, node.output, strict=True):
            nodes.append(helper.make_node("Identity", [names.get(value.name, value.name)], [name]))
        return nodes


def _renamed(node: onnx.NodeProto, names: Mapping[str, str]) -> onnx.NodeProto:
    """A copy of a node, its subgraphs included, with values renamed."""
    copy = type(node)()
    copy.CopyFrom(node)
    copy.input[:] = [names.get(name, name) for name in copy.input]
    copy.output[:] = [names.get(name, name) for name in copy.output]
    for graph in _subgraphs(copy):
        inner = [_renamed(inner_node, names) for inner_node in graph.node]
        del graph.node[:]
        graph.node.extend(inner)
        for value in graph.output:
            value.name = names.get(value.name, value.name)
    return copy


def _drop_dead_nodes(graph: onnx.GraphProto) -> None:
    used = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if any(output in used for output in node.output):
            kept.append(node)
            used.update(_inputs(node))
    del graph.node[:]
    graph.node.extend(reversed(kept))
    initializers = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(initializers)


def _inputs(node: onnx.NodeProto) -> Iterator[str]:
    yield from node.input
    for graph in _subgraphs(node):
        for inner in graph.node:
            yield from _inputs(inner)
        yield from (value.name for value in graph.output)


def fold_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """Folds until nothing changes; returns the new model.

    Shapes are inferred between the rounds: a folded shape argument makes the next shape static.
    """
    from onnx import shape_inference  # noqa: PLC0415 # an extra

    for round_index in range(_MAX_ROUNDS):
        inferred = shape_inference.infer_shapes(model, data_prop=True)
        folder = _Folder(inferred, f"branch{round_index}.")
        folder.run()
        if not folder.change_count:
            return inferred
        _drop_dead_nodes(inferred.graph)
        # What was inferred may be less precise than what the next round infers.
        del inferred.graph.value_info[:]
        model = inferred
    return model
