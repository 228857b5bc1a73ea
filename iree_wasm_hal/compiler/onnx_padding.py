"""Turns reflecting pads into gathers, because the compiler's own lowering of them is wrong.

IREE 3.11 to 3.13 lower ``Pad`` with mode ``reflect`` to a reversed read, whose input is cut too
short when the operation is distributed over workgroups ("inferred input/output operand #0 has
shape's dimension #0 to be greater than or equal to 64, but found 57", native code included).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.compiler.onnx_folding import attributes_of, small_constants, static_shapes

if TYPE_CHECKING:
    import onnx

__all__ = ["gather_reflections"]


def _reflected(size: int, before: int, after: int) -> list[int] | None:
    """Source index of each element along a padded axis; None if the pad is larger than allowed."""
    if size < 1 or max(before, after) >= size or size + before + after <= 0:
        return None
    last = size - 1
    return [last - abs(last - abs(i)) for i in range(-before, size + after)]


def gather_reflections(model: onnx.ModelProto) -> onnx.ModelProto:
    """Rewrites each reflecting ``Pad`` of static shape, in place; returns the model."""
    if not any(_is_reflection(node) for node in model.graph.node):
        return model
    from onnx import shape_inference  # noqa: PLC0415 # an extra

    inferred = shape_inference.infer_shapes(model, data_prop=True)
    shapes, constants = static_shapes(inferred), small_constants(inferred.graph)
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        indices = None
        if _is_reflection(node) and node.input[0] in shapes:
            pads = attributes_of(node).get("pads")
            if pads is None and len(node.input) > 1 and node.input[1] in constants:
                pads = constants[node.input[1]].tolist()
            if pads is not None and not any(node.input[3:]):
                indices = _axis_indices(shapes[node.input[0]], pads)
        nodes.extend([node] if indices is None else _gathers(model, node, indices))
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    return model


def _is_reflection(node: onnx.NodeProto) -> bool:
    return node.op_type == "Pad" and attributes_of(node).get("mode") == b"reflect"


def _axis_indices(shape: tuple[int, ...], pads: list[int]) -> dict[int, list[int]] | None:
    rank = len(shape)
    if len(pads) != 2 * rank:
        return None
    indices = {}
    for axis in range(rank):
        if pads[axis] or pads[rank + axis]:
            along = _reflected(shape[axis], pads[axis], pads[rank + axis])
            if along is None:
                return None
            indices[axis] = along
    return indices


def _gathers(
    model: onnx.ModelProto, node: onnx.NodeProto, indices: dict[int, list[int]]
) -> list[onnx.NodeProto]:
    """One Gather per padded axis, then the Pad's own name."""
    import numpy as np  # noqa: PLC0415 # beside onnx
    from onnx import helper, numpy_helper  # noqa: PLC0415 # an extra

    nodes, value = [], node.input[0]
    for axis, along in indices.items():
        name = f"{node.output[0]}/reflected.{axis}"
        tensor = numpy_helper.from_array(np.array(along, np.int64), f"{name}.indices")
        model.graph.initializer.append(tensor)
        nodes.append(helper.make_node("Gather", [value, tensor.name], [name], axis=axis))
        value = name
    return [*nodes, helper.make_node("Identity", [value], [node.output[0]])]
