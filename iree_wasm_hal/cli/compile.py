"""``iree-wasm compile``: a model to a ``.vmfb`` with WebAssembly kernels."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Annotated, Any

import typer

from iree_wasm_hal.cli.reporting import ExitStatus, UsageError, guarded
from iree_wasm_hal.compiler import (
    DEFAULT_TARGET,
    INPUT_TYPES,
    TARGET_NAMES,
    CompileOptions,
    OnnxOptions,
    compile_to_file,
)
from iree_wasm_hal.compiler.onnx_model import parse_shape
from iree_wasm_hal.compiler.targets import parse_targets
from iree_wasm_hal.errors import CompileError

__all__ = ["compile_command"]

_TARGET_HELP = f"One of {', '.join(TARGET_NAMES)}; several with commas give one fat archive."


def _split(text: str, option: str, example: str) -> tuple[str, str]:
    name, equals, value = text.rpartition("=")
    if not equals or not name:
        raise UsageError(f"{option} {text!r}; expected {example}")
    return name, value


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, value = _split(text, "--input-shape", "NAME=1x3x640x640")
    try:
        return name, parse_shape(value)
    except CompileError as error:
        raise UsageError(f"--input-shape {text!r}: {error}") from error


def _value(text: str) -> tuple[str, Any]:
    name, value = _split(text, "--input-value", "NAME=16000 or NAME=[1,2]")
    try:
        return name, ast.literal_eval(value)
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"--input-value {text!r}: {value!r} is no number or list") from error


def _checked_target(target: str) -> str:
    try:
        parse_targets(target)
    except CompileError as error:
        raise UsageError(f"--target: {error}") from error
    return target


def _checked_input_type(input_type: str) -> str:
    if input_type not in INPUT_TYPES:
        raise UsageError(f"--input-type {input_type!r}; expected one of {', '.join(INPUT_TYPES)}")
    return input_type


def compile_command(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", exists=True, dir_okay=False, help="ONNX, MLIR text or MLIR bytecode."
        ),
    ],
    flags: Annotated[
        list[str] | None, typer.Argument(metavar="[-- FLAGS]", help="More iree-compile flags.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="File to write [MODEL's name .vmfb]."),
    ] = None,
    target: Annotated[str, typer.Option(help=_TARGET_HELP)] = DEFAULT_TARGET,
    input_shape: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=SHAPE", help="Shape of a dynamic ONNX input: x=1x3x640x640."),
    ] = None,
    input_value: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="ONNX input to compile in as a constant."),
    ] = None,
    input_type: Annotated[str, typer.Option(help=f"One of {', '.join(INPUT_TYPES)}.")] = "auto",
    opset: Annotated[int | None, typer.Option(help="Raise an ONNX model to this opset.")] = None,
) -> None:
    """Compiles a model to an archive with WebAssembly kernels."""
    path = output or Path(model.with_suffix(".vmfb").name)

    def body() -> int:
        if flags and not flags[0].startswith("-"):
            raise UsageError(
                f"unexpected argument {flags[0]!r}; flags for iree-compile stand behind --"
            )
        onnx_options = OnnxOptions(
            dict(_shape(text) for text in input_shape or []),
            dict(_value(text) for text in input_value or []),
            opset,
        )
        options = CompileOptions(
            _checked_target(target), _checked_input_type(input_type), onnx_options, flags or []
        )
        result = compile_to_file(model, path, options, keep_log=True)
        contents = result.contents
        print(
            f"{path}: {result.byte_length} bytes in {result.duration_s:.1f} s, {target}, "
            f"kernels {sum(contents.kernel_byte_lengths)} bytes, "
            f"functions: {', '.join(contents.functions)}"
        )
        return ExitStatus.DONE

    raise typer.Exit(guarded(body))
