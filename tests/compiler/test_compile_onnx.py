from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import iree_wasm_hal as iwh
from iree_wasm_hal.compiler.onnx_folding import fold_constants
from iree_wasm_hal.compiler.onnx_model import OnnxOptions, prepare
from iree_wasm_hal.compiler.onnx_padding import gather_reflections
from iree_wasm_hal.compiler.onnx_pointwise import multiply_pixels
from iree_wasm_hal.compiler.onnx_windows import trim_windows
from iree_wasm_hal.compiler.source import read_source

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from iree_wasm_hal.engine import Engine

Array = np.ndarray[Any, np.dtype[Any]]


def model(
    nodes: list[onnx.NodeProto],
    inputs: Mapping[str, list[Any]],
    constants: Mapping[str, Array] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "a graph/with a name",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def run(source: Any, engine: Engine, *arguments: Array, **options: Any) -> Any:
    with iwh.load(iwh.compile(source, **options), engine=engine) as module:
        return np.array(module.main(*arguments))


def reference(source: onnx.ModelProto, **feeds: Array) -> Any:
    results: Any = ReferenceEvaluator(source).run(None, feeds)
    return results[0]


def operators(source: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in source.graph.node if node.op_type != "Constant"]


def test_the_function_of_every_onnx_model_is_main(engine: Engine, tmp_path: Path) -> None:
    relu = model([helper.make_node("Relu", ["x"], ["y"])], {"x": [4]})
    x = np.array([-1, 2, -3, 4], np.float32)
    path = tmp_path / "without-a-suffix"
    onnx.save(relu, path)
    for source in (relu, relu.SerializeToString(), path):
        np.testing.assert_array_equal(run(source, engine, x), np.maximum(x, 0))
    assert relu.graph.name == "a graph/with a name"


def test_dynamic_dimensions_may_stay_or_be_given(engine: Engine) -> None:
    softmax = model([helper.make_node("Softmax", ["x"], ["y"], axis=-1)], {"x": ["n", "m"]})
    x = np.random.default_rng(1).standard_normal((3, 10)).astype(np.float32)
    expected = reference(softmax, x=x)
    given: list[dict[str, Any]] = [{}, *({"input_shapes": {"x": s}} for s in ((3, 10), "3x10"))]
    for options in given:
        np.testing.assert_allclose(run(softmax, engine, x, **options), expected, rtol=1e-5)
    with iwh.load(iwh.compile(softmax, input_shapes={"x": (3, 10)}), engine=engine) as module:
        assert module.functions["main"] == (
            "sync func @main(%x: tensor<3x10xf32>) -> (%y: tensor<3x10xf32>)"
        )


def test_the_declaration_has_the_names_and_types_of_the_model(engine: Engine) -> None:
    source = model([helper.make_node("Where", ["a/b c", "x", "x"], ["y"])], {"x": ["n", 2]})
    source.graph.input.insert(0, helper.make_tensor_value_info("a/b c", TensorProto.BOOL, []))
    source.graph.input[1].type.tensor_type.elem_type = TensorProto.UINT8
    source.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.UINT8, None))
    with iwh.load(iwh.compile(source), engine=engine) as module:
        assert module.functions["main"].startswith(
            "sync func @main(%a_b_c: tensor<i1>, %x: tensor<?x2xui8>) -> (%y: tensor<"
        )
        x = np.array([[200, 1], [2, 3]], np.uint8)
        result = module.main(np.array(True), x)
        assert result.dtype == np.uint8
        np.testing.assert_array_equal(result, x)
        with pytest.raises(iwh.ArgumentError, match=r"\(x\)"):
            module.main(np.array(True), np.zeros((2, 3), np.float32))


def test_an_old_opset_is_raised(engine: Engine) -> None:
    # Before opset 13 Softmax flattens the dimensions from `axis` on.
    old = model([helper.make_node("Softmax", ["x"], ["y"], axis=1)], {"x": [2, 3, 4]}, opset=11)
    x = np.random.default_rng(2).standard_normal((2, 3, 4)).astype(np.float32)
    flat = np.exp(x.reshape(2, 12))
    expected = (flat / flat.sum(axis=1, keepdims=True)).reshape(2, 3, 4)
    np.testing.assert_allclose(run(old, engine, x), expected, rtol=1e-5)
    np.testing.assert_allclose(run(old, engine, x, opset=18), expected, rtol=1e-5)
    prepared = prepare(read_source(old, "auto"), OnnxOptions(opset=18))
    assert prepared.opset_import[0].version == 18


def test_initializers_that_are_inputs_become_constants(engine: Engine) -> None:
    with_default = model(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        {"x": [3], "w": [3]},
        {"w": np.array([1, 2, 3], np.float32)},
    )
    with_default.ir_version = 3
    x = np.zeros(3, np.float32)
    np.testing.assert_array_equal(run(with_default, engine, x), [1, 2, 3])


def _with_branches() -> onnx.ModelProto:
    def branch(name: str, operation: str) -> onnx.GraphProto:
        nodes = [
            helper.make_node("Constant", [], ["c"], value_float=2.0),
            helper.make_node(operation, ["x", "c"], [name]),
        ]
        output = helper.make_tensor_value_info(name, TensorProto.FLOAT, [4])
        return helper.make_graph(nodes, name, [], [output])

    nodes = [
        helper.make_node("Greater", ["rate", "limit"], ["fast"]),
        helper.make_node(
            "If",
            ["fast"],
            ["z"],
            then_branch=branch("t", "Mul"),
            else_branch=branch("e", "Add"),
        ),
        helper.make_node("Neg", ["z"], ["y"]),
    ]
    return model(nodes, {"x": [4], "rate": []}, {"limit": np.array(10, np.float32)})


@pytest.mark.parametrize(("rate", "expected"), [(16, [-2, -4, -6, -8]), (8, [-3, -4, -5, -6])])
def test_a_given_value_decides_an_if(rate: int, expected: list[int], engine: Engine) -> None:
    x = np.array([1, 2, 3, 4], np.float32)
    actual = run(_with_branches(), engine, x, input_values={"rate": rate})
    np.testing.assert_array_equal(actual, expected)


def test_folding_inlines_nested_branches_under_new_names() -> None:
    inner = _with_branches().graph.node[1]
    twice = _with_branches()
    second = twice.graph.node.add()
    second.CopyFrom(inner)
    second.output[0] = "z2"
    total = helper.make_node("Add", ["z", "z2"], ["y"])
    twice.graph.node[2].CopyFrom(total)
    ordered = [twice.graph.node[0], twice.graph.node[1], second, total]
    copies = [type(node).FromString(node.SerializeToString()) for node in ordered]
    del twice.graph.node[:]
    twice.graph.node.extend(copies)
    twice.graph.input.pop()
    twice.graph.initializer.append(numpy_helper.from_array(np.array(16, np.float32), "rate"))
    folded = fold_constants(twice)
    onnx.checker.check_model(folded)
    assert "If" not in operators(folded)
    x = np.arange(4, dtype=np.float32)
    np.testing.assert_array_equal(reference(folded, x=x), 4 * x)


def test_shape_arithmetic_folds_to_a_static_shape() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "first"], ["n"]),
        helper.make_node("Mul", ["n", "two"], ["m"]),
        helper.make_node("Unsqueeze", ["m", "zero"], ["u"]),
        helper.make_node("Concat", ["u", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"]),
    ]
    constants = {
        "first": np.array(0, np.int64),
        "two": np.array(2, np.int64),
        "zero": np.array([0], np.int64),
        "rest": np.array([-1], np.int64),
    }
    folded = fold_constants(model(nodes, {"x": [3, 4]}, constants))
    assert operators(folded) == ["Reshape"]
    assert [d.dim_value for d in folded.graph.output[0].type.tensor_type.shape.dim] == [6, 2]


def test_large_constants_are_left_to_the_compiler() -> None:
    nodes = [
        helper.make_node("ConstantOfShape", ["size"], ["weights"]),
        helper.make_node("Add", ["x", "weights"], ["y"]),
    ]
    large = model(nodes, {"x": [100, 100]}, {"size": np.array([100, 100], np.int64)})
    assert operators(fold_constants(large)) == ["ConstantOfShape", "Add"]


def test_random_operators_are_no_constants() -> None:
    nodes = [
        helper.make_node("RandomNormal", [], ["r"], shape=[4]),
        helper.make_node("Add", ["x", "r"], ["y"]),
    ]
    assert operators(fold_constants(model(nodes, {"x": [4]}))) == ["RandomNormal", "Add"]


def _conv(size: int, kernel: int, **attributes: Any) -> onnx.ModelProto:
    weights = np.random.default_rng(3).standard_normal((5, 4, kernel)).astype(np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], **attributes)
    return model([node], {"x": [1, 4, size]}, {"w": weights})


@pytest.mark.parametrize(
    ("size", "attributes", "rewritten"),
    [
        (2, {"pads": [1, 1], "strides": [2]}, ["Conv"]),
        (4, {"strides": [3]}, ["Slice", "Conv"]),
        (5, {"strides": [4], "pads": [0, 1]}, ["Slice", "Conv"]),
        (6, {"strides": [7], "dilations": [2]}, ["Slice", "Conv"]),
        (9, {"strides": [2]}, ["Conv"]),
    ],
)
def test_windows_that_leave_elements_over(
    size: int, attributes: dict[str, Any], rewritten: list[str], engine: Engine
) -> None:
    source = _conv(size, 3, **attributes)
    x = np.random.default_rng(4).standard_normal((1, 4, size)).astype(np.float32)
    expected = reference(source, x=x)
    trimmed = trim_windows(onnx.ModelProto.FromString(source.SerializeToString()))
    assert operators(trimmed) == rewritten
    np.testing.assert_allclose(reference(trimmed, x=x), expected, rtol=1e-5)
    np.testing.assert_allclose(run(source, engine, x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "pads", [[0, 5, 0, 3], [2, 0, 0, 0], [1, 70, 2, 64], [0, -2, 0, 3], [0, 0, 0, 0]]
)
def test_reflecting_pads_are_gathers(pads: list[int], engine: Engine) -> None:
    constants = {"pads": np.array(pads, np.int64)}
    source = model(
        [helper.make_node("Pad", ["x", "pads"], ["y"], mode="reflect")], {"x": [4, 100]}, constants
    )
    x = np.random.default_rng(5).standard_normal((4, 100)).astype(np.float32)
    rewritten = gather_reflections(onnx.ModelProto.FromString(source.SerializeToString()))
    assert "Pad" not in operators(rewritten)
    positive, cut = np.maximum(np.reshape(pads, (2, 2)), 0), np.minimum(np.reshape(pads, (2, 2)), 0)
    expected = np.pad(x, [tuple(positive[:, axis]) for axis in (0, 1)], mode="reflect")
    if cut.any():
        expected = np.pad(x[:, 2:], [(0, 0), (0, 3)], mode="reflect")
    np.testing.assert_array_equal(run(source, engine, x), expected)


def test_a_single_pixel_convolution_is_a_product(engine: Engine) -> None:
    random = np.random.default_rng(6)
    weights = random.standard_normal((7, 5, 1, 1)).astype(np.float32)
    bias = random.standard_normal(7).astype(np.float32)
    source = model(
        [helper.make_node("Conv", ["x", "w", "b"], ["y"])],
        {"x": [2, 5, 1, 1]},
        {"w": weights, "b": bias},
    )
    x = random.standard_normal((2, 5, 1, 1)).astype(np.float32)
    rewritten = multiply_pixels(onnx.ModelProto.FromString(source.SerializeToString()))
    assert operators(rewritten) == ["Reshape", "Reshape", "Gemm", "Reshape"]
    np.testing.assert_allclose(reference(rewritten, x=x), reference(source, x=x), rtol=1e-5)
    np.testing.assert_allclose(run(source, engine, x), reference(source, x=x), rtol=1e-5)


def test_weights_in_files_beside_the_model(engine: Engine, tmp_path: Path) -> None:
    weights = np.arange(4096, dtype=np.float32).reshape(64, 64)
    source = model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": [1, 64]}, {"w": weights})
    path = tmp_path / "model.onnx"
    onnx.save(source, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (tmp_path / "weights.bin").stat().st_size == weights.nbytes
    x = np.ones((1, 64), np.float32)
    np.testing.assert_allclose(run(path, engine, x), x @ weights, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "shape", "numpy_reference"),
    [
        ("Relu", (64,), lambda x: np.maximum(x, 0)),
        ("Softmax", (4, 33), None),
        ("Erf", (64,), None),
        ("Round", (64,), np.rint),
    ],
)
def test_operators_whose_kernels_call_functions(
    name: str, shape: tuple[int, ...], numpy_reference: Callable[..., Any] | None, engine: Engine
) -> None:
    source = model([helper.make_node(name, ["x"], ["y"])], {"x": list(shape)})
    x = (np.random.default_rng(8).standard_normal(shape) * 3).astype(np.float32)
    expected = numpy_reference(x) if numpy_reference else reference(source, x=x)
    np.testing.assert_allclose(run(source, engine, x), expected, rtol=1e-5, atol=1e-6)
