"""Writes a 1x1 convolution of a 1x1 image as the matrix product it is.

Squeeze-and-excitation blocks are full of them. Turned into im2col form, which makes all other
convolutions many times faster, the compiler (3.11 to 3.13) cannot distribute some of these
("write affecting operations on global resources are restricted to workgroup distributed
contexts").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.compiler.onnx_folding import attributes_of, static_shapes

if TYPE_CHECKING:
    import onnx

__all__ = ["multiply_pixels"]


def multiply_pixels(model: onnx.ModelProto) -> onnx.ModelProto:
    """Rewrites each such ``Conv`` of static shape to ``Gemm``, in place; returns the model."""
    if not any(node.op_type == "Conv" for node in model.graph.node):
        return model
    from onnx import shape_inference  # noqa: PLC0415 # an extra

    shapes = static_shapes(shape_inference.infer_shapes(model, data_prop=True))
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        nodes.extend(_gemm(model, node, shapes) if _is_product(node, shapes) else [node])
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    return model


def _is_product(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> bool:
    if node.op_type != "Conv" or not {node.input[0], node.input[1]} <= shapes.keys():
        return False
    attributes = attributes_of(node)
    pixels = (*shapes[node.input[0]][2:], *shapes[node.input[1]][2:])
    is_plain = attributes.get("group", 1) == 1 and not any(attributes.get("pads", ()))
    return is_plain and all(size == 1 for size in pixels)


def _gemm(
    model: onnx.ModelProto, node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]
) -> list[onnx.NodeProto]:
    import numpy as np  # noqa: PLC0415 # beside onnx
    from onnx import helper, numpy_helper  # noqa: PLC0415 # an extra

    image, weights, (result,) = node.input[0], node.input[1], node.output

    def reshape(source: str, target: str, shape: tuple[int, ...]) -> onnx.NodeProto:
        tensor = numpy_helper.from_array(np.array(shape, np.int64), f"{target}.shape")
        model.graph.initializer.append(tensor)
        return helper.make_node("Reshape", [source, tensor.name], [target])

    rows, columns, product = f"{result}/rows", f"{result}/columns", f"{result}/product"
    result_shape = (shapes[image][0], shapes[weights][0], *shapes[image][2:])
    operands = [rows, columns, *node.input[2:]]
    return [
        reshape(image, rows, shapes[image][:2]),
        reshape(weights, columns, shapes[weights][:2]),
        helper.make_node("Gemm", operands, [product], transB=1),
        reshape(product, f"{result}", result_shape),
    ]
