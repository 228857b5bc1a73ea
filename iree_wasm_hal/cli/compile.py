"""``iree-wasm compile``: a model to a ``.vmfb`` with WebAssembly kernels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from iree_wasm_hal.compiler import DEFAULT_TARGET, INPUT_TYPES, TARGET_NAMES, compile_to_file
from iree_wasm_hal.errors import CompileError, Error

__all__ = ["compile_command"]


def _parse_input_shapes(texts: list[str]) -> dict[str, str]:
    shapes = {}
    for text in texts:
        name, equals, shape = text.rpartition("=")
        if not equals or not name:
            raise typer.BadParameter(
                f"{text!r}; expected NAME=1x3x640x640", param_hint="--input-shape"
            )
        shapes[name] = shape
    return shapes


def compile_command(
    model: Annotated[Path, typer.Argument(help="ONNX, MLIR text or MLIR bytecode.")],
    extra: Annotated[
        list[str] | None, typer.Argument(metavar="[-- FLAGS]", help="Further iree-compile flags.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The .vmfb to write.")
    ] = None,
    target: Annotated[
        str,
        typer.Option(
            help=f"One of {', '.join(TARGET_NAMES)}; or several with commas for one fat archive."
        ),
    ] = DEFAULT_TARGET,
    input_shape: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=SHAPE", help="Shape of a dynamic ONNX input: x=1x3x640x640."),
    ] = None,
    input_type: Annotated[str, typer.Option(help=f"One of {', '.join(INPUT_TYPES)}.")] = "auto",
    opset: Annotated[int | None, typer.Option(help="Raise an ONNX model to this opset.")] = None,
) -> None:
    """Compile a model to a .vmfb with WebAssembly kernels."""
    path = output or Path(model.with_suffix(".vmfb").name)
    shapes = _parse_input_shapes(input_shape or [])
    try:
        result = compile_to_file(
            model,
            path,
            target=target,
            input_shapes=shapes,
            input_type=input_type,
            opset=opset,
            extra_args=extra or [],
            log_output=path,
        )
    except CompileError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    except Error as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"{result.path}: {result.byte_length} bytes, {target}, {result.duration_s:.1f} s")
