"""``compile``: a model in, a ``.vmfb`` out, by way of the installed iree-compile."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from iree_wasm_hal.compiler.codegen_patterns import codegen_patterns
from iree_wasm_hal.compiler.diagnostics import explain, read_log
from iree_wasm_hal.compiler.flags import (
    DEMOTE_F64,
    FAST_CONVOLUTIONS,
    KEEP_F64,
    iree_compile_flags,
)
from iree_wasm_hal.compiler.linking.launcher import write_launcher
from iree_wasm_hal.compiler.onnx_model import OnnxOptions, import_onnx
from iree_wasm_hal.compiler.source import SourceKind, read_source
from iree_wasm_hal.compiler.targets import DEFAULT_TARGET, parse_targets
from iree_wasm_hal.compiler.toolchain import find_toolchain, run
from iree_wasm_hal.compiler.verification import ArchiveContents, verify_archive
from iree_wasm_hal.errors import CompileError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import onnx

__all__ = ["CompileOptions", "CompileResult", "compile", "compile_to_file"]


@dataclass(frozen=True, slots=True)
class CompileOptions:
    """How to compile; ``compile`` describes each."""

    target: str = DEFAULT_TARGET
    input_type: str = "auto"
    onnx: OnnxOptions = field(default_factory=OnnxOptions)
    extra_args: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class CompileResult:
    """What one compilation gave."""

    path: Path
    byte_length: int
    duration_s: float
    contents: ArchiveContents


def compile_to_file(
    source: str | Path | bytes | onnx.ModelProto,
    output: Path,
    options: CompileOptions | None = None,
    *,
    keep_log: bool = False,
) -> CompileResult:
    """Compiles a model into a file.

    Args:
        source: As ``compile`` takes it.
        output: File to write; its directory is made.
        options: How.
        keep_log: Whether the whole log of a failure goes into a file beside the output (``.log``
            added to its name) instead of a temporary one.

    Raises:
        CompileError: As ``compile`` raises it.
    """
    start = time.perf_counter()
    options = options or CompileOptions()
    _check_output(source, output)
    log_path = output.with_name(output.name + ".log") if keep_log else None
    with tempfile.TemporaryDirectory(prefix="iree-wasm-", dir=_plain_directory()) as work_dir:
        compiled, contents = _Compilation(source, options, Path(work_dir), log_path).run()
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(compiled, output)
        except OSError as error:
            raise CompileError(f"{output}: cannot be written: {error.strerror}") from error
    if log_path is not None:
        log_path.unlink(missing_ok=True)  # of an earlier failure
    duration_s = time.perf_counter() - start
    return CompileResult(output, output.stat().st_size, duration_s, contents)


def _check_output(source: object, output: Path) -> None:
    """Refuses to write over a directory or over the model itself."""
    if not output.name or output.is_dir():
        raise CompileError(f"output {str(output)!r} is a directory; expected a file name")
    if isinstance(source, (str, Path)) and output.exists() and output.samefile(source):
        raise CompileError(f"output {output} is the model itself; choose another name")


def _plain_directory() -> str:
    """A temporary directory whose path iree-compile takes within a flag, where nothing is quoted.

    Raises:
        CompileError: None of the usual ones will do.
    """
    candidates = (tempfile.gettempdir(), "/tmp", "/var/tmp")  # the usual ones
    for directory in candidates:
        if re.fullmatch(r"[\w/.+-]+", directory) and os.access(directory, os.W_OK):
            return directory
    raise CompileError(
        f"no temporary directory without spaces or other special characters: {candidates}; "
        "name one in TMPDIR"
    )


class _Compilation:
    """One compilation in a work directory that its caller deletes."""

    def __init__(
        self,
        source: str | Path | bytes | onnx.ModelProto,
        options: CompileOptions,
        work_dir: Path,
        log_path: Path | None,
    ) -> None:
        self.targets = parse_targets(options.target)
        self.source = read_source(source, options.input_type)
        self.toolchain = find_toolchain()
        self.options = options
        self.work_dir = work_dir
        self.log = work_dir / "log"
        self.log.touch()
        self.kept_log_path = log_path

    def run(self) -> tuple[Path, ArchiveContents]:
        """Compiles and verifies; returns the archive's path in the work directory."""
        mlir = self._mlir_file()
        patterns = self.work_dir / "patterns.pdl.mlir"
        patterns.write_text(codegen_patterns())
        linker = write_launcher(self.work_dir, self.toolchain.lld)
        output = self.work_dir / "module.vmfb"
        input_type = "auto" if self.options.input_type == "onnx" else self.options.input_type
        flags = iree_compile_flags(self.targets, linker, patterns, input_type)
        command = [str(self.toolchain.iree_compile), str(mlir), "-o", str(output), *flags]
        attempt_offset = 0
        for more in ((*FAST_CONVOLUTIONS, *KEEP_F64), KEEP_F64, DEMOTE_F64):
            if more is DEMOTE_F64 and not self._may_demote(mlir, attempt_offset):
                break
            attempt_offset = self.log.stat().st_size
            status = run([*command, *more, *self.options.extra_args], self.log, "iree-compile")
            if status == 0 and output.is_file():
                return output, verify_archive(output)
        raise self._failure(status, attempt_offset)

    def _may_demote(self, mlir: Path, log_offset: int) -> bool:
        """Whether f64 is what failed, and no function takes or returns it."""
        head = mlir.read_bytes()
        if b"f64" not in read_log(self.log, log_offset).encode() or head.startswith(b"ML\xefR"):
            return False
        signatures = re.findall(rb"func\.func[^{]*", head)
        return not any(b"f64" in signature for signature in signatures)

    def _mlir_file(self) -> Path:
        if self.source.kind is SourceKind.ONNX:
            imported = import_onnx(self.source, self.work_dir, self.log, self.options.onnx)
            if imported is None:
                raise self._failure(1, 0)
            return imported
        if self.options.onnx != OnnxOptions():
            raise CompileError(
                f"{self.source.name} is MLIR; input shapes, input values and opset are for ONNX"
            )
        if self.source.path is not None:
            return self.source.path
        path = self.work_dir / "input.mlir"
        path.write_bytes(self.source.data or b"")
        return path

    def _failure(self, exit_status: int, log_offset: int) -> CompileError:
        """The error for a failed step, with the log moved to where it outlives the directory.

        Args:
            exit_status: The step's.
            log_offset: Where in the log the step begins.
        """
        path = self._keep_log()
        cause = explain(read_log(self.log, log_offset), exit_status).replace(
            f"{self.work_dir}/", ""
        )
        return CompileError(
            f"{self.source.name} does not compile:\n  {cause}\nwhole log: {path}",
            log_path=str(path),
        )

    def _keep_log(self) -> Path:
        """Copies the log to where it outlives the directory; returns its path there."""
        path = self.kept_log_path
        if path is not None:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self.log, path)
            except OSError:
                path = None  # the place for the output cannot be written: a temporary file can
        if path is None:
            with tempfile.NamedTemporaryFile(
                prefix="iree-wasm-compile-", suffix=".log", delete=False
            ) as stream:
                stream.write(self.log.read_bytes())
                path = Path(stream.name)
        return path


@overload
def compile(  # noqa: A001 # the public name
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
def compile(  # noqa: A001 # the public name
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


def compile(  # noqa: A001 # the public name
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
            bytecode, told apart by its contents; or an ``onnx.ModelProto``.
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
    onnx_options = OnnxOptions(input_shapes or {}, input_values or {}, opset)
    options = CompileOptions(target, input_type, onnx_options, extra_args)
    if output is not None:
        path = Path(output)
        compile_to_file(source, path, options, keep_log=True)
        return path
    with tempfile.TemporaryDirectory(prefix="iree-wasm-") as temporary:
        path = Path(temporary) / "module.vmfb"
        compile_to_file(source, path, options)
        return path.read_bytes()
