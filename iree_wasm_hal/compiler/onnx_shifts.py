"""Makes ``BitShift`` by too much, or by less than nothing, what ONNX says it is.

ONNX fills with the sign then: -1 for a right shift of a negative number, else 0. IREE's lowering is
a machine shift, which LLVM leaves undefined there: x86 happens to give ONNX's answer for vectors,
WebAssembly takes the amount modulo the width.
Spec: the operator's text in ONNX since opset 28.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.compiler.onnx_folding import attributes_of, small_constants

if TYPE_CHECKING:
    import onnx

__all__ = ["bound_shifts"]


def bound_shifts(model: onnx.ModelProto) -> onnx.ModelProto:
    """Bounds the amount of each ``BitShift`` that is not a constant in range; returns the model."""
    if not any(node.op_type == "BitShift" for node in model.graph.node):
        return model
    from onnx import helper, shape_inference  # noqa: PLC0415 # an extra

    inferred = shape_inference.infer_shapes(model)
    constants = small_constants(inferred.graph)
    graph = inferred.graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        types[value.name] = value.type.tensor_type.elem_type
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        element_type = types.get(node.output[0], 0) if node.op_type == "BitShift" else 0
        if not element_type:
            nodes.append(node)
            continue
        dtype = helper.tensor_dtype_to_np_dtype(element_type)
        width = dtype.itemsize * 8
        amount = constants.get(node.input[1])
        in_range = amount is not None and bool(((amount >= 0) & (amount < width)).all())
        if in_range or dtype.name == "uint16":  # the importer cannot compare that type
            nodes.append(node)
        else:
            nodes += _bounded(
                model, node, width, signed=dtype.kind == "i", element_type=element_type
            )
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    return model


def _bounded(
    model: onnx.ModelProto, node: onnx.NodeProto, width: int, *, signed: bool, element_type: int
) -> list[onnx.NodeProto]:
    """The shift by an amount in range, and a choice between its result and the fill."""
    from onnx import helper  # noqa: PLC0415 # an extra

    direction = attributes_of(node)["direction"]
    (value, amount), result = node.input, node.output[0]

    def name(part: str) -> str:
        return f"{result}/{part}"

    def constant(part: str, number: int) -> str:
        tensor = helper.make_tensor(name(part), element_type, [], [number])
        model.graph.initializer.append(tensor)
        return name(part)

    zero = constant("zero", 0)
    nodes = [helper.make_node("Less", [amount, constant("width", width)], [name("below")])]
    valid = name("below")
    if signed:
        nodes += [
            helper.make_node("Less", [amount, zero], [name("negative")]),
            helper.make_node("Not", [name("negative")], [name("positive")]),
            helper.make_node("And", [name("below"), name("positive")], [name("valid")]),
        ]
        valid = name("valid")
    # A signed right shift by one less than the width is the fill itself.
    fills = signed and direction == b"RIGHT"
    substitute = constant("most", width - 1) if fills else zero
    nodes.append(helper.make_node("Where", [valid, amount, substitute], [name("amount")]))
    shifted = result if fills else name("shifted")
    nodes.append(
        helper.make_node("BitShift", [value, name("amount")], [shifted], direction=direction)
    )
    if not fills:
        nodes.append(helper.make_node("Where", [valid, shifted, zero], [result]))
    return nodes
