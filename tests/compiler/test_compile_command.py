from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

COMMAND = Path(sys.executable).parent / "iree-wasm"
ADD = "func.func @add(%a: tensor<4xf32>) -> tensor<4xf32> {\n  return %a : tensor<4xf32>\n}\n"


def compile_command(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "compile", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.fixture
def scaled(tmp_path: Path) -> Path:
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "factor"], ["z"]),
            helper.make_node("Add", ["z", "one"], ["y"]),
        ],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2]),
            helper.make_tensor_value_info("factor", TensorProto.FLOAT, [2]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(np.ones(1, np.float32), "one")],
    )
    path = tmp_path / "scaled.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    return path


def test_one_line_with_size_time_and_functions(scaled: Path, tmp_path: Path) -> None:
    arguments = ["--input-shape", "x=3x2", "--input-value", "factor=[2,3]", "--opset", "18"]
    result = compile_command(
        scaled, "-o", "out.vmfb", *arguments, "--target", "wasm32", cwd=tmp_path
    )
    assert result.stderr == ""
    assert result.returncode == 0
    (line,) = result.stdout.splitlines()
    byte_length = (tmp_path / "out.vmfb").stat().st_size
    assert line.startswith(f"out.vmfb: {byte_length} bytes in ")
    assert ", wasm32, kernels " in line
    assert line.endswith("functions: main")
    run = subprocess.run(
        [COMMAND, "inspect", "out.vmfb"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "sync func @main(%x: tensor<3x2xf32>) -> (%y: tensor<3x2xf32>)" in run.stdout


def test_the_output_is_named_after_the_model(tmp_path: Path) -> None:
    (tmp_path / "add.mlir").write_text(ADD)
    assert compile_command("add.mlir", cwd=tmp_path).returncode == 0
    assert (tmp_path / "add.vmfb").is_file()


def test_flags_after_two_dashes_reach_the_compiler(tmp_path: Path) -> None:
    (tmp_path / "add.mlir").write_text(ADD)
    result = compile_command("add.mlir", "--", "--no-such-flag", cwd=tmp_path)
    assert result.returncode == 1
    assert "Unknown command line argument '--no-such-flag'" in result.stderr


def test_a_model_that_does_not_compile_gives_status_1(tmp_path: Path) -> None:
    (tmp_path / "broken.mlir").write_text("module { nonsense }")
    result = compile_command("broken.mlir", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: broken.mlir does not compile:\n")
    assert "whole log: broken.vmfb.log" in result.stderr
    assert (tmp_path / "broken.vmfb.log").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "x86"], "--target: unknown target 'x86'"),
        (["--input-shape", "1x2"], "--input-shape '1x2'; expected NAME=1x3x640x640"),
        (["--input-shape", "x=1xtwo"], "expected numbers as in 1x3x640x640"),
        (["--input-value", "x=some"], "'some' is no number or list"),
        (["--input-type", "png"], "--input-type 'png'; expected one of auto"),
    ],
)
def test_wrong_usage_gives_status_2(arguments: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "add.mlir").write_text(ADD)
    result = compile_command("add.mlir", *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr
