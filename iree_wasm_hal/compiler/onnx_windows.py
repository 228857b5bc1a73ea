"""Trims what no window of a convolution or pooling reads, where the compiler trips over it.

A strided window that fits once into a padded input may leave elements over at its end (input 2,
pads 1 and 1, kernel 3, stride 2: the fourth element is never read). When the output has size 1
there, the compiler (3.11 to 3.13) folds the output dimension away, infers the input's size from
the kernel's alone, and fails with "inferred input/output operand #1 has shape's dimension #2 to
be 4, but found 3".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iree_wasm_hal.compiler.onnx_folding import attributes_of, static_shapes

if TYPE_CHECKING:
    import onnx

__all__ = ["trim_windows"]

_WINDOWED = ("Conv", "MaxPool", "AveragePool", "LpPool")


def _set_ints(node: onnx.NodeProto, name: str, values: list[int]) -> None:
    from onnx import helper  # noqa: PLC0415 # an extra

    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, values)])


def _leftovers(
    sizes: tuple[int, ...], kernel: list[int], attributes: dict[str, Any]
) -> list[int] | None:
    """Elements at the end of each axis, padding included, that no window reads.

    Zero for axes where the output is larger than 1: the compiler gets those right. None if
    padding is not explicit.
    """
    rank = len(kernel)
    if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b""):
        return None
    if attributes.get("ceil_mode", 0):
        return None
    pads = list(attributes.get("pads", [0] * 2 * rank))
    strides = attributes.get("strides", [1] * rank)
    dilations = attributes.get("dilations", [1] * rank)
    leftovers = []
    for axis in range(rank):
        padded = sizes[axis] + pads[axis] + pads[rank + axis]
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        is_one = reach <= padded < reach + strides[axis]
        leftovers.append(padded - reach if is_one else 0)
    return leftovers


def trim_windows(model: onnx.ModelProto) -> onnx.ModelProto:
    """Takes leftovers off the end padding, and off the input where they are larger than it.

    Changes the model in place and returns it.
    """
    if not any(node.op_type in _WINDOWED for node in model.graph.node):
        return model
    from onnx import shape_inference  # noqa: PLC0415 # an extra

    shapes = static_shapes(shape_inference.infer_shapes(model, data_prop=True))
    nodes = []
    for node in model.graph.node:
        if node.op_type in _WINDOWED and node.input[0] in shapes:
            nodes.extend(_trim(model, node, shapes))
        else:
            nodes.append(node)
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    return model


def _trim(
    model: onnx.ModelProto, node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]
) -> list[onnx.NodeProto]:
    attributes = attributes_of(node)
    sizes = shapes[node.input[0]][2:]
    kernel = list(attributes.get("kernel_shape", ()))
    if not kernel and node.op_type == "Conv" and len(node.input) > 1:
        kernel = list(shapes.get(node.input[1], ())[2:])
    if len(kernel) != len(sizes):
        return [node]
    leftovers = _leftovers(sizes, kernel, attributes)
    if not leftovers or not any(leftovers):
        return [node]
    rank = len(kernel)
    pads = list(attributes.get("pads", [0] * 2 * rank))
    ends = list(sizes)
    for axis, leftover in enumerate(leftovers):
        from_padding = min(leftover, pads[rank + axis])
        pads[rank + axis] -= from_padding
        ends[axis] -= leftover - from_padding
    _set_ints(node, "pads", pads)
    if tuple(ends) == tuple(sizes):
        return [node]
    return [*_slice(model, node, ends), node]


def _slice(model: onnx.ModelProto, node: onnx.NodeProto, ends: list[int]) -> list[onnx.NodeProto]:
    """A Slice before the node that keeps the first ``ends`` elements of the spatial axes."""
    import numpy as np  # noqa: PLC0415 # beside onnx
    from onnx import helper, numpy_helper  # noqa: PLC0415 # an extra

    prefix = f"{node.output[0]}/trimmed"
    operands = []
    for name, values in (
        ("starts", [0] * len(ends)),
        ("ends", ends),
        ("axes", list(range(2, 2 + len(ends)))),
    ):
        tensor = numpy_helper.from_array(np.array(values, np.int64), f"{prefix}.{name}")
        model.graph.initializer.append(tensor)
        operands.append(tensor.name)
    sliced = helper.make_node("Slice", [node.input[0], *operands], [prefix])
    node.input[0] = prefix
    return [sliced]
