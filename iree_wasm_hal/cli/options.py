"""The options that the commands declare, apart from them so that a command reads as one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from iree_wasm_hal.cli.comparison import Tolerance

__all__ = [
    "BFloat16Threshold",
    "Engine",
    "EqualityMode",
    "ExpectedOutputs",
    "Float16Threshold",
    "Float32Threshold",
    "Float64Threshold",
    "Function",
    "Inputs",
    "Isolation",
    "Json",
    "Markdown",
    "MaxElementCount",
    "Model",
    "NoCache",
    "Outputs",
    "Parameters",
    "RelativeTolerance",
    "Threads",
    "Timeout",
    "Version",
    "isolation_of",
    "tolerance_of",
]


def _threshold(name: str) -> typer.models.OptionInfo:
    """An absolute tolerance under iree-run-module's name, with dashes or underscores."""
    option = f"--expected_{name}_threshold"
    help_text = f"Absolute tolerance for {name}."
    info: typer.models.OptionInfo = typer.Option(option.replace("_", "-"), option, help=help_text)
    return info


Model = Annotated[
    Path,
    typer.Argument(metavar="FILE.vmfb", exists=True, dir_okay=False, help="An IREE archive."),
]
Engine = Annotated[
    str | None,
    typer.Option(
        "--engine",
        metavar="NAME",
        help="One of those that `iree-wasm engines` lists; wasmtime if none is named.",
    ),
]
Threads = Annotated[
    int, typer.Option("--threads", metavar="N", min=1, help="Worker threads for the kernels.")
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        min=0,
        help="Seconds that the call may take; on jsc and wasm3 with --isolation process alone.",
    ),
]
Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--parameters",
        metavar="[SCOPE=]FILE",
        help="A parameter archive (.irpa, .safetensors, .gguf); once per archive.",
    ),
]
Isolation = Annotated[
    str | None,
    typer.Option(
        "--isolation",
        metavar="process",
        help="Load and run in a child process, which alone ends if something crashes.",
    ),
]
NoCache = Annotated[
    bool,
    typer.Option("--no-cache", help="Compile anew, and keep no compiled code for the next time."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print the table in Markdown.")]
Function = Annotated[
    str | None,
    typer.Option(
        "--function", metavar="NAME", help="Exported function; not needed where there is one."
    ),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input", metavar="VALUE", help="4xf32=1,2,3,4, 5, @file.npy, ...; once per argument."
    ),
]
Outputs = Annotated[
    list[str] | None,
    typer.Option(
        "--output",
        metavar="WHERE",
        help="-, @file.npy, +file.npy, @file.bin or empty; once per result.",
    ),
]
ExpectedOutputs = Annotated[
    list[str] | None,
    typer.Option(
        "--expected-output",
        "--expected_output",
        metavar="VALUE",
        help="Compare with these instead of printing; (ignored) accepts anything.",
    ),
]
MaxElementCount = Annotated[
    int,
    typer.Option(
        "--output-max-element-count",
        "--output_max_element_count",
        metavar="N",
        min=0,
        help="Elements of a tensor to print.",
    ),
]
Float16Threshold = Annotated[float, _threshold("f16")]
Float32Threshold = Annotated[float, _threshold("f32")]
Float64Threshold = Annotated[float, _threshold("f64")]
BFloat16Threshold = Annotated[float, _threshold("bf16")]
RelativeTolerance = Annotated[
    float,
    typer.Option("--expected-rtol", "--expected_rtol", help="Relative tolerance for fractions."),
]
EqualityMode = Annotated[
    str,
    typer.Option(
        "--equality-mode",
        "--equality_mode",
        metavar="approximate|exact",
        help="exact compares bytes.",
    ),
]
Version = Annotated[bool, typer.Option("--version", is_eager=True, help="Print the version.")]


def isolation_of(isolation: str | None) -> Literal["process"] | None:
    """The isolation that the option asks for.

    Raises:
        typer.BadParameter: There is none of that name.
    """
    if isolation is None:
        return None
    if isolation == "process":
        return "process"
    raise typer.BadParameter("it must be process", param_hint="--isolation")


def tolerance_of(
    equality_mode: str, *, f16: float, f32: float, f64: float, bf16: float, relative: float
) -> Tolerance:
    """The comparison rule that the options ask for.

    Raises:
        typer.BadParameter: ``equality_mode`` is neither ``approximate`` nor ``exact``.
    """
    if equality_mode not in ("approximate", "exact"):
        raise typer.BadParameter("it must be approximate or exact", param_hint="--equality-mode")
    return Tolerance(f16, f32, f64, bf16, relative, exact=equality_mode == "exact")
