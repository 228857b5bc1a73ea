from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import iree_wasm_hal as iwh
from iree_wasm_hal.compiler import toolchain
from iree_wasm_hal.compiler.diagnostics import explain

ADD = "func.func @add(%a: tensor<4xf32>) -> tensor<4xf32> {\n  return %a : tensor<4xf32>\n}\n"


def model(nodes: list[onnx.NodeProto], shape: list[Any], opset: int = 17) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def failure(source: Any, **options: Any) -> iwh.CompileError:
    with pytest.raises(iwh.CompileError) as caught:
        iwh.compile(source, **options)
    return caught.value


def test_a_syntax_error_is_shown_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "broken.mlir"
    path.write_text(ADD.replace("return", "retrun"))
    error = failure(path, output=tmp_path / "out.vmfb")
    text = str(error)
    assert f"{path} does not compile" in text
    assert f"{path}:2:3: error: custom op 'retrun' is unknown" in text
    assert len(text.splitlines()) <= 6
    assert error.log_path == str(tmp_path / "out.vmfb.log")
    assert "retrun %a" in Path(error.log_path).read_text()
    assert not (tmp_path / "out.vmfb").exists()


def test_the_log_of_bytes_goes_to_a_temporary_file() -> None:
    error = failure(b"module { foo.bar }")
    assert error.log_path is not None
    log = Path(error.log_path)
    assert log.is_file()
    assert str(log) in str(error)
    log.unlink()


def test_an_unsupported_operator_is_named(tmp_path: Path) -> None:
    nodes = [helper.make_node("StringNormalizer", ["x"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.STRING, [2])],
        [helper.make_tensor_value_info("y", TensorProto.STRING, [2])],
    )
    broken = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    text = str(failure(broken, output=tmp_path / "x.vmfb"))
    assert "StringNormalizer" in text or "STRING" in text or "string" in text
    assert len(text.splitlines()) <= 8


def test_a_custom_operator_is_named_with_a_hint(tmp_path: Path) -> None:
    custom = model([helper.make_node("Frobnicate", ["x"], ["y"], domain="com.example")], [4])
    custom.opset_import.append(helper.make_opsetid("com.example", 1))
    custom.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, [4]))
    text = str(failure(custom, output=tmp_path / "x.vmfb"))
    assert "Frobnicate" in text
    assert "hint:" in text


def test_an_undecided_if_says_what_decides_it() -> None:
    log = (
        "imported.mlir:91:13: error: failed to legalize operation 'torch.operator' that was "
        'explicitly marked illegal: %8 = "torch.operator"(%7) <{name = "onnx.If"}> ({...}, {...})'
    )
    text = explain(log, 1)
    assert "takes an ONNX If in simple forms only" in text
    assert "--input-value" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "wasm128"}, "unknown target 'wasm128'; expected one of wasm32,"),
        ({"target": "wasm32,wasm32"}, "names the same target twice"),
        ({"input_type": "jpeg"}, "input type 'jpeg'; expected one of auto, onnx"),
        ({"input_shapes": {"x": "4"}}, "is MLIR; input shapes"),
        ({"extra_args": ["--no-such-flag"]}, "this flag does not exist"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    assert message in str(failure(ADD.encode(), **options))


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"z": (1, 4)}, "no input 'z' to give a shape; inputs: x"),
        ({"x": (1, 4, 4)}, "input 'x' has 2 dimensions, the shape given has 3 (1x4x4)"),
        ({"x": (1, 5)}, "input 'x' has size 4 in dimension 1; the shape given has 5"),
        ({"x": "1xfour"}, "shape '1xfour'; expected numbers as in 1x3x640x640"),
        ({"x": (0.5, 4)}, "input 'x': shape (0.5, 4)"),
        ({"x": (-1, 4)}, "input 'x': shape (-1, 4)"),
    ],
)
def test_wrong_shapes_are_named(shapes: dict[str, Any], message: str) -> None:
    dynamic = model([helper.make_node("Relu", ["x"], ["y"])], ["n", 4])
    assert message in str(failure(dynamic, input_shapes=shapes))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"z": 1}, "no input 'z' to give a value; inputs: x"),
        ({"x": 1.0}, "input 'x' has 2 dimensions, the value given 0"),
        ({"x": "many"}, "input 'x': 'many' is no float32"),
    ],
)
def test_wrong_values_are_named(values: dict[str, Any], message: str) -> None:
    dynamic = model([helper.make_node("Relu", ["x"], ["y"])], ["n", 4])
    assert message in str(failure(dynamic, input_values=values))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"\x89PNG\r\n\x1a\n", "not an ONNX model, MLIR text or MLIR bytecode (starts with: 89 50"),
        (b"", "starts with: nothing"),
        (b"\x08\x08\xff\xff\xff\xff", "not a readable ONNX model"),
        (b"hello world", "not an ONNX model"),
        ("no/such/file.onnx", "no/such/file.onnx: No such file or directory"),
        (7, "a model is a path, bytes or an onnx.ModelProto, not int"),
        (np.zeros(3), "a model is a path, bytes or an onnx.ModelProto, not ndarray"),
    ],
)
def test_what_is_no_model_is_refused(source: Any, message: str) -> None:
    assert message in str(failure(source))


def test_a_missing_compiler_names_the_pip_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'iree-wasm-hal[compiler]'" in str(failure(ADD.encode()))


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    error = failure(ADD.encode(), output=tmp_path / "file" / "x.vmfb")
    assert "cannot be written" in str(error)


def test_an_undefined_symbol_is_named() -> None:
    log = (
        "iree-lld: error: /tmp/x.o: undefined symbol: mystery\n"
        "<unknown>:0: error: linking failed; escaped command line returned exit code 256\n"
    )
    assert "undefined symbol: mystery" in explain(log, 1)
    assert "the support library lacks this function" in explain(log, 1)


def test_a_crash_without_a_message_says_how_it_ended() -> None:
    assert "ended with signal 11" in explain("$ iree-compile\nStack dump:\n", -11)
    assert "ended with exit status 3" in explain("", 3)


def test_many_errors_are_counted_not_dumped() -> None:
    log = "\n".join(f"a.mlir:{i}:1: error: bad thing {i}" for i in range(40))
    text = explain(log, 1)
    assert "bad thing 0" in text
    assert "... and 37 more" in text
    assert len(text.splitlines()) <= 6


def test_the_interpreter_is_the_one_that_runs() -> None:
    assert sys.executable == toolchain.PYTHON


def test_the_model_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "add.mlir"
    path.write_text(ADD)
    assert "is the model itself" in str(failure(path, output=path))
    assert path.read_text() == ADD


@pytest.mark.parametrize("output", ["", ".", "/"])
def test_an_output_must_be_a_file(output: str) -> None:
    assert "is a directory" in str(failure(ADD.encode(), output=output))


def test_flags_cannot_turn_the_kernels_into_native_code() -> None:
    source = ADD.replace("return %a", "%0 = arith.addf %a, %a : tensor<4xf32>\n  return %0")
    error = failure(source.encode(), extra_args=["--iree-hal-target-backends=llvm-cpu"])
    assert "no WebAssembly kernels" in str(error)


def test_an_opset_cannot_be_lowered() -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    assert "its opset is 17" in str(failure(model([node], [4]), opset=13))


def test_a_stale_log_goes_with_the_next_success(tmp_path: Path) -> None:
    output = tmp_path / "out.vmfb"
    failure(b"module { foo.bar }", output=output)
    log = tmp_path / "out.vmfb.log"
    assert log.exists()
    iwh.compile(ADD.encode(), output=output)
    assert not log.exists()
