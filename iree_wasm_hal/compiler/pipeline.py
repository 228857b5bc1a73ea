"""``compile``: a model in, a ``.vmfb`` out, by way of the installed iree-compile."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from iree_wasm_hal.compiler.diagnostics import explain, read_log
from iree_wasm_hal.compiler.flags import iree_compile_flags
from iree_wasm_hal.compiler.linking.launcher import write_launcher
from iree_wasm_hal.compiler.onnx_model import OnnxOptions, import_onnx
from iree_wasm_hal.compiler.source import Source, SourceKind, read_source
from iree_wasm_hal.compiler.targets import DEFAULT_TARGET, parse_targets
from iree_wasm_hal.compiler.toolchain import find_toolchain, run
from iree_wasm_hal.errors import CompileError

if TYPE_CHECKING:
    import onnx

__all__ = ["CompileResult", "compile", "compile_to_file"]


@dataclass(frozen=True, slots=True)
class CompileResult:
    """What one compilation did."""

    path: Path
    byte_length: int
    duration_s: float


def _materialize(source: Source, work_dir: Path) -> Path:
    """The MLIR file to compile, which iree-compile reads by name."""
    if source.path is not None:
        return source.path
    path = work_dir / "input.mlir"
    path.write_bytes(source.data or b"")
    return path


def _fail(source: Source, log: Path, exit_status: int, output: Path | None) -> CompileError:
    """The error for a failed step, with the log moved to where it outlives the work directory."""
    kept = output.with_name(output.name + ".log") if output is not None else None
    if kept is None:
        with tempfile.NamedTemporaryFile(
            prefix="iree-wasm-compile-", suffix=".log", delete=False
        ) as f:
            kept = Path(f.name)
    shutil.copyfile(log, kept)
    cause = explain(read_log(log), exit_status)
    return CompileError(
        f"{source.name} does not compile:\n  {cause}\nwhole log: {kept}", log_path=str(kept)
    )


def compile_to_file(
    source: str | Path | bytes | onnx.ModelProto,
    output: Path,
    *,
    target: str = DEFAULT_TARGET,
    input_shapes: Mapping[str, str | Sequence[int]] | None = None,
    input_values: Mapping[str, Any] | None = None,
    input_type: str = "auto",
    opset: int | None = None,
    extra_args: Sequence[str] = (),
    log_output: Path | None = None,
) -> CompileResult:
    """Does what ``compile`` describes, into a file; ``log_output`` names the log after a failure."""
    start = time.perf_counter()
    targets = parse_targets(target)
    model = read_source(source, input_type)
    toolchain = find_toolchain()
    with tempfile.TemporaryDirectory(prefix="iree-wasm-") as temporary:
        work_dir = Path(temporary)
        log = work_dir / "log"
        log.touch()
        is_onnx = model.kind is SourceKind.ONNX
        if is_onnx:
            options = OnnxOptions(input_shapes or {}, input_values or {}, opset)
            mlir = import_onnx(model, work_dir, log, options)
            if mlir is None:
                raise _fail(model, log, 1, log_output)
        else:
            if input_shapes or input_values or opset:
                raise CompileError(
                    f"{model.name} is MLIR; input_shapes, input_values and opset are for ONNX"
                )
            mlir = _materialize(model, work_dir)
        linker = write_launcher(work_dir, toolchain.lld)
        compiled = work_dir / "module.vmfb"
        iree_input_type = "auto" if input_type in ("auto", "onnx") else input_type
        command = [str(toolchain.iree_compile), str(mlir), "-o", str(compiled)]
        command += iree_compile_flags(targets, linker, iree_input_type)
        status = run([*command, *extra_args], log, "iree-compile")
        if status != 0 or not compiled.is_file():
            raise _fail(model, log, status, log_output)
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(compiled, output)
        except OSError as error:
            raise CompileError(f"{output}: cannot be written: {error.strerror}") from error
    return CompileResult(output, output.stat().st_size, time.perf_counter() - start)


@overload
def compile(  # noqa: A001 # the public name that docs/compiling.md fixes
    source: str | Path | bytes | onnx.ModelProto,
    *,
    output: None = None,
    target: str = ...,
    input_shapes: Mapping[str, str | Sequence[int]] | None = ...,
    input_values: Mapping[str, Any] | None = ...,
    input_type: str = ...,
    opset: int | None = ...,
    extra_args: Sequence[str] = ...,
) -> bytes: ...


@overload
def compile(  # noqa: A001 # the public name that docs/compiling.md fixes
    source: str | Path | bytes | onnx.ModelProto,
    *,
    output: str | Path,
    target: str = ...,
    input_shapes: Mapping[str, str | Sequence[int]] | None = ...,
    input_values: Mapping[str, Any] | None = ...,
    input_type: str = ...,
    opset: int | None = ...,
    extra_args: Sequence[str] = ...,
) -> Path: ...


def compile(  # noqa: A001 # the public name that docs/compiling.md fixes
    source: str | Path | bytes | onnx.ModelProto,
    *,
    output: str | Path | None = None,
    target: str = DEFAULT_TARGET,
    input_shapes: Mapping[str, str | Sequence[int]] | None = None,
    input_values: Mapping[str, Any] | None = None,
    input_type: str = "auto",
    opset: int | None = None,
    extra_args: Sequence[str] = (),
) -> bytes | Path:
    """Compiles a model to a ``.vmfb`` whose kernels are WebAssembly.

    Args:
        source: Path or bytes of an ONNX model, MLIR text (StableHLO, TOSA, linalg, ...) or MLIR
            bytecode, told by its contents; or an ``onnx.ModelProto``.
        output: File to write; its directory is made.
        target: ``wasm32``, ``wasm32-simd128``, ``wasm32-simd128-relaxed``, the same with
            ``wasm64``, or several names with commas between them for one archive that carries
            kernels for each; the device takes the first that its engine can run.
        input_shapes: Input name -> shape (``(1, 3, 640, 640)`` or ``"1x3x640x640"``) for inputs
            of an ONNX model whose dimensions are dynamic.
        input_values: Input name -> value, for inputs of an ONNX model that become constants and
            leave its signature: a sample rate that decides an ``If``, a target shape.
        input_type: Skips the guess: ``onnx``, ``stablehlo``, ``tosa``, ``torch``, ...
        opset: Raises an ONNX model's opset to this version first.
        extra_args: Flags for iree-compile, after ours.

    Returns:
        The ``.vmfb``'s bytes, or with ``output`` its path. Functions keep their names; that of an
        ONNX model is ``main``.

    Raises:
        CompileError: The model does not compile (``log_path`` names the whole log), an argument
            is wrong, or the compiler is not installed.
    """
    options = {
        "target": target,
        "input_shapes": input_shapes,
        "input_values": input_values,
        "input_type": input_type,
        "opset": opset,
        "extra_args": extra_args,
    }
    if output is not None:
        path = Path(output)
        compile_to_file(source, path, log_output=path, **options)  # type: ignore[arg-type] # a heterogeneous dict of our own parameters
        return path
    with tempfile.TemporaryDirectory(prefix="iree-wasm-") as temporary:
        path = Path(temporary) / "module.vmfb"
        compile_to_file(source, path, **options)  # type: ignore[arg-type] # as above
        return path.read_bytes()
